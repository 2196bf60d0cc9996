// SPDX-License-Identifier: Apache-2.0

import Dispatch
import Files
import Glibc
import Logging
import NIOCore
import NIOSSL
import Synchronization

/// The certificate chain and its key as their files have them now: whoever connects is shown those, so that a renewed certificate
/// costs no restart.
///
/// What cannot be used is not shown: halves of two pairs while one is being replaced, a key that others may read, a file that is
/// gone. The last pair that could be used stays, and the log says why.
final class CertificateFiles: Sendable {
    /// A state of a file: another one is another content, or the same written anew.
    private struct Stamp: Equatable {
        var inode: UInt64
        var size: Int64
        var seconds: Int
        var nanoseconds: Int
    }

    private struct Pair {
        var chain: [NIOSSLCertificateSource]
        var key: NIOSSLPrivateKeySource
        /// The last second in which it is accepted, since 1970.
        var end: Int

        var override: NIOSSLContextConfigurationOverride {
            var override = NIOSSLContextConfigurationOverride()
            override.certificateChain = chain
            override.privateKey = key
            return override
        }

        /// A server's that shows it, with TLS 1.3 and nothing else.
        var configuration: TLSConfiguration {
            var configuration = TLSConfiguration.makeServerConfiguration(
                certificateChain: chain, privateKey: key)
            configuration.minimumTLSVersion = .tlsv13
            return configuration
        }
    }

    private struct Latest {
        /// The files that were looked at last, whether or not they could be used.
        var stamps: [Stamp?]
        var pair: Pair
    }

    private static let queue = DispatchQueue(label: "sluice.certificate")
    private let files: (certificate: String, key: String)
    private let log: Logger
    private let latest: Mutex<Latest>

    /// - Throws: when the pair cannot be used.
    init(_ files: (certificate: String, key: String), log: Logger) throws {
        self.files = files
        self.log = log
        let stamps = Self.stamps(files)
        latest = Mutex(Latest(stamps: stamps, pair: try Self.read(files)))
    }

    /// A server's that shows whatever pair is the present one.
    var configuration: TLSConfiguration {
        var configuration = present.configuration
        configuration.sslContextCallback = { _, promise in
            if let pair = self.unchanged { return promise.succeed(pair.override) }
            // Not here: what TLS says against a pair would be held against the handshake that is under way on this thread.
            CertificateFiles.queue.async { promise.succeed(self.present.override) }
        }
        return configuration
    }

    /// What the certificate that is shown now ends with.
    var end: CertificateEnd {
        CertificateEnd(file: files.certificate, seconds: present.end)
    }

    /// The present pair, as long as the files are those that were looked at last.
    private var unchanged: Pair? {
        let stamps = Self.stamps(files)
        return latest.withLock { stamps == $0.stamps ? $0.pair : nil }
    }

    /// The pair for who connects now, read where the files are others than before.
    private var present: Pair {
        let stamps = Self.stamps(files)
        return latest.withLock { latest in
            guard stamps != latest.stamps else { return latest.pair }
            latest.stamps = stamps
            do {
                latest.pair = try Self.read(files)
                log.notice("the certificate of \(files.certificate) is shown from now on")
            } catch {
                log.error(
                    "the certificate of \(files.certificate) or its key \(files.key) has changed and cannot be used, so the last one stays: \(error)"
                )
            }
            return latest.pair
        }
    }

    private static func read(_ files: (certificate: String, key: String)) throws -> Pair {
        if let problem = try secrecyProblem(with: files.key) {
            throw ControlServer.CannotStart(description: problem)
        }
        let chain = try NIOSSLCertificate.fromPEMFile(files.certificate)
        let pair = Pair(
            chain: chain.map { NIOSSLCertificateSource.certificate($0) },
            key: .privateKey(try NIOSSLPrivateKey(file: files.key, format: .pem)),
            // The first is the server's own; others may be there for clients of long ago.
            end: chain.first.map { Int($0.notValidAfter) } ?? 0)
        // It is refused where the two do not belong together.
        _ = try NIOSSLContext(configuration: pair.configuration)
        return pair
    }

    private static func stamps(_ files: (certificate: String, key: String)) -> [Stamp?] {
        [files.certificate, files.key].map { path in
            var status = stat()
            guard stat(path, &status) == 0 else { return nil }
            return Stamp(
                inode: UInt64(status.st_ino), size: Int64(status.st_size),
                seconds: status.st_mtim.tv_sec, nanoseconds: status.st_mtim.tv_nsec)
        }
    }
}
