// SPDX-License-Identifier: Apache-2.0

/// A queue in the order of arrival from which any element can leave at once, by its key.
///
/// Appending, leaving and looking at the first are constant on average: positions that were left are skipped, and the queue
/// closes up when more than half of it is empty.
struct KeyedQueue<Key: Hashable, Value> {
    private var members: [Key: (position: Int, value: Value)] = [:]
    private var positions: [Key?] = []
    private var head = 0

    var count: Int { members.count }
    var isEmpty: Bool { members.isEmpty }
    subscript(key: Key) -> Value? { members[key]?.value }

    /// The member that has waited longest.
    var first: (key: Key, value: Value)? {
        guard head < positions.count, let key = positions[head], let member = members[key] else {
            return nil
        }
        return (key, member.value)
    }

    /// All members in the order of arrival.
    var inOrder: [(key: Key, value: Value)] {
        positions[head...].compactMap { key in
            guard let key, let member = members[key] else { return nil }
            return (key, member.value)
        }
    }

    /// Joins at the end. A key that is already in the queue leaves its old position.
    mutating func append(_ key: Key, _ value: Value) {
        remove(key)
        members[key] = (positions.count, value)
        positions.append(key)
    }

    @discardableResult
    mutating func remove(_ key: Key) -> Value? {
        guard let (position, value) = members.removeValue(forKey: key) else { return nil }
        positions[position] = nil
        while head < positions.count, positions[head] == nil { head += 1 }
        if positions.count > 64, members.count * 2 < positions.count { closeUp() }
        return value
    }

    mutating func removeAll() { self = KeyedQueue() }

    private mutating func closeUp() {
        let keys = positions[head...].compactMap { $0 }
        for (position, key) in keys.enumerated() { members[key]?.position = position }
        positions = keys
        head = 0
    }
}
