// SPDX-License-Identifier: Apache-2.0

import AgentSettings
import CurlClient
import Files

extension HTTPHeader {
    /// A header as it is sent now; the value of one from a file is read anew, and never shown.
    init(_ header: SentHeader) throws(SystemFailure) {
        switch header.value {
        case .text(let text): self.init(header.name, text)
        case .file(let path):
            let problem = try onFiles { () throws(FileFailure) in try secrecyProblem(with: path) }
            if let problem { throw SystemFailure(problem) }
            var value = try onFiles { () throws(FileFailure) in
                try readTextFile(path, atMost: 4096)
            }[...]
            while value.last?.isWhitespace == true { value.removeLast() }
            guard !value.isEmpty, value.utf8.allSatisfy({ (32...126).contains($0) }) else {
                throw SystemFailure(
                    "\(path) is empty or has characters that no value of a header has")
            }
            self.init(header.name, String(value))
        }
    }
}
