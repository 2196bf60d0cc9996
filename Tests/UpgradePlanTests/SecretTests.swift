// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Documents
@testable import UpgradePlan

@Suite struct SecretTests {
    @Test(arguments: [
        "postgres://app:hunter2@db/app", "see postgresql://u:p@[::1]:5432/x here",
        "https://user:token@example.org/", "host=db user=app password=hunter2",
        "postgres://db/app?user=x&password=hunter2", "PGPASSWORD=hunter2",
        "-----BEGIN OPENSSH PRIVATE KEY-----",
    ])
    func whatHoldsASecretIsFound(_ text: String) {
        #expect(Secret.isIn(text))
        #expect(!quoted(text).contains("hunter2"))
    }

    @Test(arguments: [
        "env:DATABASE_URL", "postgres://app@db/app", "https://example.org/a:b@c",
        "http://127.0.0.1:8080/x@y", "password=$PASSWORD", "postgres://user:@db", "a: b@c",
        "-----BEGIN CERTIFICATE-----", "://:@",
    ])
    func whatOnlyLooksLikeOneIsNot(_ text: String) { #expect(!Secret.isIn(text)) }

    @Test func aSecretIsFoundInAComment() {
        #expect(
            findings(minimal(more: "# was postgres://app:hunter2@db/app")) == [
                "5:15 secret-in-clear"
            ])
    }

    @Test(arguments: ["db_password", "apiToken", "SECRET", "client-secret", "private_key"])
    func aKeyThatAnnouncesASecretIsRefusedWhenItsValueIsWrittenOut(_ key: String) {
        #expect(findings(minimal(more: "\(key): hunter2")) == ["5:1 secret-in-clear"])
        #expect(findings(minimal(more: "\(key): env:NAME")) == ["5:1 unknown-key"])
    }
}
