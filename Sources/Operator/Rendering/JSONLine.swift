// SPDX-License-Identifier: Apache-2.0

internal import FoundationEssentials
internal import UpgradeModel

/// A value as one line of NDJSON, its keys sorted so that the same value is the same line.
///
/// What a terminal or a reader could take for more than text is escaped: the line may be shown as it is.
func jsonLine(_ value: some Encodable) -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    guard let data = try? encoder.encode(value) else {
        return "{\"type\":\"error\",\"code\":\"internal\"}"
    }
    return escapingHarmful(String(decoding: data, as: UTF8.self))
}

/// JSON in which every harmful character is written as `\u…`; such characters stand only within its strings.
private func escapingHarmful(_ json: String) -> String {
    guard json.unicodeScalars.contains(where: isHarmful) else { return json }
    var result = ""
    for scalar in json.unicodeScalars {
        if isHarmful(scalar) {
            for unit in String(scalar).utf16 {
                let digits = String(unit, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            }
        } else {
            result.unicodeScalars.append(scalar)
        }
    }
    return result
}
