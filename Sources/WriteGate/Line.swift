// SPDX-License-Identifier: Apache-2.0

/// A queue in the order of arrival from which any element can leave at once, by its key.
///
/// Appending, leaving and looking at the first are constant on average: places that were left are skipped, and the line
/// closes up when more than half of it is empty.
struct Line<Key: Hashable, Value> {
    private var members: [Key: (place: Int, value: Value)] = [:]
    private var places: [Key?] = []
    private var head = 0

    var count: Int { members.count }
    var isEmpty: Bool { members.isEmpty }
    subscript(key: Key) -> Value? { members[key]?.value }

    /// The member that has waited longest.
    var first: (key: Key, value: Value)? {
        guard head < places.count, let key = places[head], let member = members[key] else {
            return nil
        }
        return (key, member.value)
    }

    /// All members in the order of arrival.
    var inOrder: [(key: Key, value: Value)] {
        places[head...].compactMap { key in
            guard let key, let member = members[key] else { return nil }
            return (key, member.value)
        }
    }

    /// Joins at the end. A key that is already in line leaves its old place.
    mutating func append(_ key: Key, _ value: Value) {
        remove(key)
        members[key] = (places.count, value)
        places.append(key)
    }

    @discardableResult
    mutating func remove(_ key: Key) -> Value? {
        guard let (place, value) = members.removeValue(forKey: key) else { return nil }
        places[place] = nil
        while head < places.count, places[head] == nil { head += 1 }
        if places.count > 64, members.count * 2 < places.count { closeUp() }
        return value
    }

    mutating func removeAll() { self = Line() }

    private mutating func closeUp() {
        let keys = places[head...].compactMap { $0 }
        for (place, key) in keys.enumerated() { members[key]?.place = place }
        places = keys
        head = 0
    }
}
