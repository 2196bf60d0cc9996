// SPDX-License-Identifier: Apache-2.0

internal import FoundationEssentials

/// A value as one line of NDJSON, its keys sorted so that the same value is the same line.
func jsonLine(_ value: some Encodable) -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    guard let data = try? encoder.encode(value) else {
        return "{\"type\":\"error\",\"code\":\"internal\"}"
    }
    return String(decoding: data, as: UTF8.self)
}
