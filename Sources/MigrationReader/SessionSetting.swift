// SPDX-License-Identifier: Apache-2.0

/// What a `SET` or `RESET` of a file says of its session: in a file whose statements run one by one, it holds for those after it.
///
/// Not `SET LOCAL`, which ends with its transaction, nor `SET ROLE`: each statement begins as the owner.
public enum SessionSetting: Hashable, Sendable {
    case set(String)
    /// As the role's session has it from its beginning.
    case reset(String)
    case resetAll

    init?(_ set: ParseTree.Set) {
        if set.is_local == true { return nil }
        let name = set.name?.lowercased() ?? ""
        if ["role", "session_authorization"].contains(name) { return nil }
        switch set.kind {
        case "VAR_SET_VALUE": self = .set(name)
        case "VAR_SET_DEFAULT", "VAR_RESET": self = .reset(name)
        case "VAR_RESET_ALL": self = .resetAll
        default: return nil
        }
    }
}

extension Script {
    /// The statements that make a session what this one finds when those before it have run: each setting as it was said last.
    public func settings(before statement: Statement) -> [String] {
        var said: [(name: String, text: String)] = []
        for earlier in statements.prefix(while: { $0 != statement }) {
            switch earlier.setting {
            case nil: continue
            case .set(let name):
                said.removeAll { $0.name == name }
                said.append((name, earlier.text))
            case .reset(let name): said.removeAll { $0.name == name }
            case .resetAll: said = []
            }
        }
        return said.map(\.text)
    }
}
