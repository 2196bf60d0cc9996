// SPDX-License-Identifier: Apache-2.0

internal import UpgradeModel

/// A piece of a page whose every text has been made harmless. The only way from text to a page is through `escaped`.
struct Markup: Hashable, Sendable, CustomStringConvertible {
    let description: String

    private init(trusted text: String) { description = text }

    static let empty = Markup(trusted: "")

    /// A text that says itself and nothing more, whoever wrote it.
    static func escaped(_ text: String) -> Markup {
        var result = ""
        for character in printableLines(text).joined(separator: "\n").unicodeScalars {
            switch character {
            case "&": result += "&amp;"
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case "\"": result += "&quot;"
            case "'": result += "&#39;"
            default: result.unicodeScalars.append(character)
            }
        }
        return Markup(trusted: result)
    }

    /// An element. Names are this program's own; values and content are escaped.
    static func element(
        _ name: StaticString, _ attributes: KeyValuePairs<StaticString, String> = [:],
        _ content: Markup...
    ) -> Markup {
        element(name, attributes, content)
    }

    static func element(
        _ name: StaticString, _ attributes: KeyValuePairs<StaticString, String> = [:],
        _ content: [Markup]
    ) -> Markup {
        let listed = attributes.map { " \($0.key)=\"\(escaped($0.value))\"" }.joined()
        return Markup(trusted: "<\(name)\(listed)>\(content.map(\.description).joined())</\(name)>")
    }

    static func element(
        _ name: StaticString, _ attributes: KeyValuePairs<StaticString, String> = [:], text: String
    ) -> Markup {
        element(name, attributes, [escaped(text)])
    }

    /// A whole page around its content.
    ///
    /// - Parameter style: this program's own style sheet, allowed by its digest.
    static func page(title: String, style: StaticString, policy: String, _ content: [Markup])
        -> String
    {
        """
        <!DOCTYPE html>
        <html lang="en">
        <head>
        <meta charset="utf-8">
        <meta http-equiv="Content-Security-Policy" content="\(escaped(policy))">
        <meta name="referrer" content="no-referrer">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <meta name="color-scheme" content="light dark">
        <title>\(escaped(title))</title>
        <style>\(style)</style>
        </head>
        <body>
        \(content.map(\.description).joined(separator: "\n"))
        </body>
        </html>

        """
    }
}
