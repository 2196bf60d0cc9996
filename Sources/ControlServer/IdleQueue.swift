// SPDX-License-Identifier: Apache-2.0

import NIOCore

/// Connections in the order in which they fell idle.
///
/// A connection that is used again is not looked for here: its place is known by its turn, and one whose turn is over is passed over
/// when it comes to the front. So every call costs the same, however many there are.
struct IdleQueue {
    struct Place {
        var connection: ObjectIdentifier
        /// Counted up whenever a connection falls idle.
        var turn: UInt64
    }

    private var places = CircularBuffer<Place>()

    mutating func append(_ place: Place) { places.append(place) }

    /// - Returns: the longest idle of those that still are.
    mutating func first(where isCurrent: (Place) -> Bool) -> Place? {
        while let place = places.first {
            if isCurrent(place) { return place }
            places.removeFirst()
        }
        return nil
    }

    mutating func removeFirst() { places.removeFirst() }

    /// Forgets those that are idle no more, when there are more of them than connections.
    mutating func compact(connections: Int, where isCurrent: (Place) -> Bool) {
        guard places.count > 2 * connections + 64 else { return }
        places = CircularBuffer(places.filter(isCurrent))
    }
}
