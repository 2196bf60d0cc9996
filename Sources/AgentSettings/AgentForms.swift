// SPDX-License-Identifier: Apache-2.0

import CurlClient
import Documents
import UpgradeModel
import WriteGate

extension DocumentKey.Kind {
    static let arguments = DocumentKey.Kind.list(
        of: .text(maximum: 4096), .init("list", maximum: 1000, mayRepeat: true))

    static let routes = DocumentKey.Kind.list(
        of: .form(.route),
        .init("list of METHOD /path, with * at the end for a prefix", maximum: 1000))

    static let headers = DocumentKey.Kind.list(
        of: .form(.header), .init("list of \"Name: value\"", maximum: 100, mayRepeat: true))
}

/// The texts of an agent's configuration that have a form of their own.
extension DocumentKey.Form {
    static let coordinatorURL = DocumentKey.Form("http:// or https:// with host and port") { text in
        guard HTTPAddress(text.hasSuffix("/") ? String(text.dropLast()) : text) != nil else {
            // Never repeated: a URL with a password ends up here.
            return Mismatch(
                code: "value", message: "expected http://HOST:PORT or https://HOST:PORT",
                advice: "write such as https://sluice.internal:9740, without a name or password")
        }
        return nil
    }

    /// The wrong text is never repeated: it is the token itself.
    static let secret = DocumentKey.Form("file:PATH or env:NAME") { text in
        SecretReference(text) != nil
            ? nil
            : Mismatch(
                code: "secret", message: "expected where the token is, never the token itself",
                advice: "write file:/etc/sluice/node.token or env:NAME")
    }

    static let socketTemplate = DocumentKey.Form("path with {release} in it") { text in
        let parts = text.split(separator: "/")
        guard text.hasPrefix("/"), text.utf8.count <= 500, !parts.contains("."),
            !parts.contains(".."), !text.unicodeScalars.contains(where: { $0.value < 32 })
        else {
            return .wrongType(
                "an absolute path", text,
                advice: "write one that begins with / and has no `.` and `..` in it")
        }
        guard text.contains("{release}") else {
            return Mismatch(
                code: "value", message: "this path has no {release} in it",
                advice: "two releases run beside one another; such as /run/shop/{release}.sock")
        }
        return nil
    }

    static let releasePath = DocumentKey.Form("relative path") { text in
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard !text.isEmpty, text.utf8.count <= 512,
            !parts.contains(where: { $0.isEmpty || $0 == "." || $0 == ".." }),
            text.utf8.allSatisfy({ $0 >= 32 && $0 != 127 })
        else {
            return .wrongType(
                "a path in the release", text,
                advice: "write such as public/uploads, without / at either end")
        }
        return nil
    }

    static let socketMode = DocumentKey.Form("octal in quotes") { text in
        guard let mode = UInt32(text, radix: 8), mode <= 0o777 else {
            return .wrongType("permissions in octal", text, advice: "write such as \"0660\"")
        }
        guard mode & 0o007 == 0 else {
            return Mismatch(
                code: "value", message: "with \(quoted(text)) everybody may ask at the gate",
                advice: "write \"0660\", and the proxy's group as `gate.group`")
        }
        return nil
    }

    static let loopback = DocumentKey.Form("127.x.y.z:port") { text in
        GateConfiguration.Loopback(text) != nil
            ? nil
            : .wrongType(
                "an address of 127.0.0.0/8 with a port", text, advice: "write 127.0.0.1:9747")
    }

    static let route = DocumentKey.Form("METHOD /path") { text in
        GateRoute(text) != nil
            ? nil
            : Mismatch(
                code: "route", message: "\(quoted(text)) is not a route",
                advice: "write a method and a path, with `*` only at the end: POST /api/search*")
    }

    /// A variable that can give an action a configuration and cannot change what it runs.
    static let variable = DocumentKey.Form("variable") { text in
        let isName =
            !text.isEmpty && text.utf8.count <= 128
            && text.utf8.allSatisfy {
                (65...90).contains($0) || (48...57).contains($0) || $0 == 95
            }
        let programs = ["PATH", "ENV", "BASH_ENV", "SHELLOPTS", "BASHOPTS", "IFS", "PS4"]
        let interpreters = [
            "SLUICE_", "LD_", "PYTHON", "PERL5", "RUBYOPT", "RUBYLIB", "NODE_OPTIONS",
            "GCONV_PATH", "JAVA_TOOL_OPTIONS", "BASH_FUNC_",
        ]
        guard isName, !programs.contains(text), !interpreters.contains(where: text.hasPrefix)
        else {
            return Mismatch(
                code: "value", message: "\(quoted(text)) cannot be passed on",
                advice: "name a variable in capitals; what names programs to run is not passed on"
                    + " (PATH, LD_*, BASH_ENV, PYTHON* and their like), and SLUICE_* is set anew")
        }
        return nil
    }

    static let healthSocket = DocumentKey.Form("\"{socket}\" or a path") { text in
        text == "{socket}" || text.hasPrefix("/") && text.utf8.count <= 100
            ? nil
            : .wrongType(
                "a socket", text, advice: "write \"{socket}\" or an absolute path")
    }

    static let address = DocumentKey.Form("host:port") { text in
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, let port = UInt16(parts[1]), port > 0, isSafeName(String(parts[0]))
        else {
            return .wrongType(
                "an address", text, advice: "write a host and its port, such as 127.0.0.1:80")
        }
        return nil
    }

    static let requestPath = DocumentKey.Form("begins with /") { text in
        text.hasPrefix("/") && text.utf8.count <= 2000
            && text.utf8.allSatisfy { (33...126).contains($0) }
            ? nil
            : .wrongType("a path", text, advice: "write one that begins with / and has no spaces")
    }

    static let probe = DocumentKey.Form("http:// or https:// URL") { text in
        ProbeTarget(text, at: "127.0.0.1") != nil
            ? nil
            : .wrongType(
                "a URL that clients may POST to", text,
                advice: "write such as https://shop.example/orders, without a query")
    }

    static let header = DocumentKey.Form("\"Name: value\"") { text in
        guard SentHeader(text) != nil else {
            // Not repeated: its value may be a secret.
            return Mismatch(
                code: "value", message: "expected a header",
                advice: "write \"Name: value\", or \"Name: file:/PATH\" for a value in a file")
        }
        return nil
    }
}

extension SecretReference {
    /// Reads `file:/PATH` or `env:NAME`.
    init?(_ text: String) {
        if text.hasPrefix("file:/") {
            self = .file(String(text.dropFirst(5)))
        } else if text.hasPrefix("env:"), text.utf8.count > 4 {
            self = .environment(String(text.dropFirst(4)))
        } else {
            return nil
        }
    }
}
