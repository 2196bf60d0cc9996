// SPDX-License-Identifier: Apache-2.0

/// Whether the load balancer should send requests to the node.
public enum Service: String, Codable, Sendable {
    case `in`, out
}
