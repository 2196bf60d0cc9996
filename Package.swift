// swift-tools-version: 6.2
// SPDX-License-Identifier: Apache-2.0

import PackageDescription

// Every room is one row: its level, what it may import, and which packages it needs. Arrows only point down; the manifest is
// the list of them, and scripts/check compares it with the imports.
//
// SLUICE_ROOMS=NodeEngine,UpgradePlan swift test   builds those rooms, what they need and their tests, and nothing else.

enum Need {
    case room(String)
    case product(String, package: String)
}

struct Room {
    enum Kind { case library, cLibrary, executable, testSupport, testProgram, tests }

    var name: String
    var kind: Kind = .library
    var needs: [Need] = []
    var exclude: [String] = []
}

func lib(_ name: String, _ needs: Need...) -> Room {
    Room(name: name, needs: needs, exclude: ["README.md"])
}

func tests(_ name: String, _ needs: Need..., exclude: [String] = []) -> Room {
    Room(name: "\(name)Tests", kind: .tests, needs: [.room(name)] + needs, exclude: exclude)
}

let logging = Need.product("Logging", package: "swift-log")
let metrics = Need.product("Metrics", package: "swift-metrics")
let lifecycle = Need.product("ServiceLifecycle", package: "swift-service-lifecycle")
let arguments = Need.product("ArgumentParser", package: "swift-argument-parser")
let yams = Need.product("Yams", package: "Yams")

let rooms: [Room] = [
    // 0: nouns, files, and the C libraries
    lib("UpgradeModel"),
    lib("Files"),
    Room(name: "CPostgres", kind: .cLibrary),
    Room(name: "CPgQuery", kind: .cLibrary),
    Room(name: "CCurl", kind: .cLibrary),
    Room(name: "CLibcrypto", kind: .cLibrary),
    Room(name: "CEpoll", kind: .cLibrary),
    Room(name: "CFiles", kind: .cLibrary),

    // 1: formats, ports and clients
    lib("SteadyClock", .room("UpgradeModel")),
    lib("PrintableLog", .room("UpgradeModel"), logging),
    lib("ContentDigest", .room("UpgradeModel"), .room("CLibcrypto")),
    lib("Documents", .room("UpgradeModel"), yams),
    lib("UpgradePlan", .room("UpgradeModel"), .room("Documents")),
    lib("ControlAPI", .room("UpgradeModel")),
    lib("RunStore", .room("UpgradeModel")),
    lib("PostgresClient", .room("Files"), .room("CPostgres")),
    lib("CurlClient", .room("CCurl")),
    lib(
        "WriteGate", .room("UpgradeModel"), .room("Files"), .room("SteadyClock"), .room("CEpoll")),

    // 2: engines, and what talks to one kind of thing
    lib("MigrationReader", .room("UpgradeModel"), .room("ContentDigest"), .room("CPgQuery")),
    lib("UpgradeEngine", .room("UpgradeModel"), .room("UpgradePlan"), .room("RunStore")),
    lib("NodeEngine", .room("UpgradeModel")),
    lib(
        "Releases", .room("UpgradeModel"), .room("Files"), .room("ContentDigest"),
        .room("CFiles")),
    lib("HostWork", .room("Files")),
    lib(
        "SchemaUpgrade", .room("UpgradeModel"), .room("PostgresClient"), .room("MigrationReader"),
        .room("ContentDigest"), .room("CurlClient")),
    lib(
        "SQLiteRunStore", .room("UpgradeModel"), .room("RunStore"), .room("ContentDigest"),
        .room("Files"), .room("CFiles"),
        .product("GRDB", package: "GRDB.swift")),

    lib(
        "AgentSettings", .room("UpgradeModel"), .room("Documents"), .room("CurlClient"),
        .room("WriteGate")),

    // 3: shells
    lib(
        "Coordinator", .room("UpgradeModel"), .room("UpgradePlan"), .room("UpgradeEngine"),
        .room("RunStore"),
        .room("SchemaUpgrade"), .room("MigrationReader"), .room("ControlAPI"),
        .room("ContentDigest"), .room("Releases"),
        .room("SteadyClock"), logging, metrics),
    lib(
        "NodeAgent", .room("UpgradeModel"), .room("Files"), .room("AgentSettings"),
        .room("ControlAPI"), .room("NodeEngine"), .room("CurlClient"), .room("HostWork"),
        .room("PrintableLog"),
        .room("WriteGate"), .room("Releases"), .room("ContentDigest"), .room("SteadyClock"),
        logging, arguments,
        .product("Subprocess", package: "swift-subprocess")),

    // 4: what the outside sees
    lib(
        "ControlServer", .room("UpgradeModel"), .room("Coordinator"), .room("ControlAPI"),
        .room("RunStore"), .room("ContentDigest"), .room("Files"), .room("UpgradeEngine"), logging,
        metrics, lifecycle,
        .product("Hummingbird", package: "hummingbird"),
        .product("HummingbirdCore", package: "hummingbird"),
        .product("HummingbirdTLS", package: "hummingbird"),
        .product("HTTPTypes", package: "swift-http-types"),
        .product("NIOCore", package: "swift-nio"),
        .product("NIOHTTPTypes", package: "swift-nio-extras"),
        .product("NIOSSL", package: "swift-nio-ssl")),
    lib(
        "Operator", .room("UpgradeModel"), .room("ControlAPI"), .room("UpgradePlan"),
        .room("Documents"), .room("MigrationReader"), .room("UpgradeEngine"),
        .room("CurlClient"), .room("Files"), .room("Releases"), .room("ContentDigest"), arguments),

    // 5: a server with its stores
    lib(
        "CoordinatorProgram", .room("UpgradeModel"), .room("ControlServer"), .room("Coordinator"),
        .room("RunStore"), .room("SQLiteRunStore"), .room("Files"), .room("ControlAPI"),
        .room("PrintableLog"), logging, metrics, lifecycle, arguments,
        .product("NIOCore", package: "swift-nio")),

    // 6: entry points
    Room(
        name: "sluice", kind: .executable,
        needs: [.room("Operator"), .room("CoordinatorProgram"), .room("ControlAPI"), arguments]),
    Room(name: "sluice-agent", kind: .executable, needs: [.room("NodeAgent")]),

    // Tests
    Room(name: "TestSupport", kind: .testSupport, needs: [.room("CEpoll")]),
    Room(name: "PostgresTestSupport", kind: .testSupport),
    Room(
        name: "StoreTestSupport", kind: .testSupport,
        needs: [.room("RunStore"), .room("UpgradeModel")]),
    Room(name: "NginxTestSupport", kind: .testSupport, needs: [.room("TestSupport")]),
    tests("UpgradeModel"),
    tests("Files", .room("TestSupport")),
    tests("SteadyClock", .room("UpgradeModel")),
    tests("PrintableLog", logging),
    tests("ContentDigest", .room("UpgradeModel")),
    tests("Documents", .room("UpgradeModel")),
    tests(
        "UpgradePlan", .room("UpgradeModel"), .room("Documents"), .room("TestSupport"),
        exclude: ["Fixtures"]),
    tests("ControlAPI", .room("UpgradeModel")),
    tests("PostgresClient", .room("PostgresTestSupport")),
    tests("CurlClient", .room("TestSupport")),
    Room(
        name: "GateHolder", kind: .testProgram, needs: [.room("WriteGate"), .room("UpgradeModel")]),
    tests(
        "WriteGate", .room("NginxTestSupport"), .room("TestSupport"), .room("UpgradeModel"),
        .room("Files"), .room("SteadyClock"), .room("GateHolder")),
    tests(
        "UpgradeEngine", .room("UpgradeModel"), .room("UpgradePlan"), .room("RunStore"),
        .room("NodeEngine")),
    tests("NodeEngine", .room("UpgradeModel"), exclude: ["Golden"]),
    tests(
        "HostWork", .room("TestSupport"), .room("PostgresTestSupport"),
        exclude: ["release_application.py"]),
    tests("Releases", .room("TestSupport"), .room("ContentDigest"), .room("UpgradeModel")),
    tests(
        "SchemaUpgrade", .room("TestSupport"), .room("PostgresTestSupport"),
        .room("PostgresClient"),
        .room("UpgradeModel"),
        .room("MigrationReader"),
        .room("ContentDigest")),
    tests("MigrationReader", .room("UpgradeModel"), .room("ContentDigest")),
    tests(
        "SQLiteRunStore", .room("TestSupport"), .room("StoreTestSupport"), .room("RunStore"),
        .room("UpgradeModel"),
        .room("ContentDigest"), .room("StoreWriter"), .product("GRDB", package: "GRDB.swift")),
    Room(
        name: "StoreWriter", kind: .testProgram,
        needs: [.room("SQLiteRunStore"), .room("RunStore"), .room("UpgradeModel")]),
    tests(
        "Coordinator", .room("StoreTestSupport"), .room("RunStore"), .room("UpgradeModel"),
        .room("UpgradePlan"), .room("MigrationReader"),
        .room("UpgradeEngine"), .room("ControlAPI"), .room("ContentDigest"), .room("Releases"),
        logging),
    tests(
        "AgentSettings", .room("TestSupport"), .room("UpgradeModel"), .room("Documents"),
        .room("WriteGate")),
    tests(
        "NodeAgent", .room("TestSupport"), .room("NginxTestSupport"), .room("UpgradeModel"),
        .room("AgentSettings"),
        .room("HostWork"),
        .room("NodeEngine"),
        .room("ControlAPI"), .room("CurlClient"), .room("WriteGate"), .room("Releases"),
        .room("ContentDigest"), logging, .room("sluice-agent")),
    tests(
        "ControlServer", .room("TestSupport"), .room("StoreTestSupport"), .room("UpgradeModel"),
        .room("ControlAPI"),
        .room("RunStore"), .room("Coordinator"), .room("CurlClient"), .room("ContentDigest"),
        .room("UpgradeEngine"),
        logging, metrics,
        .product("HTTPTypes", package: "swift-http-types"),
        .product("NIOCore", package: "swift-nio"),
        .product("NIOEmbedded", package: "swift-nio")),
    Room(
        name: "Swarm", kind: .testProgram,
        needs: [
            .room("UpgradeModel"), .room("ControlAPI"),
            .product("NIOCore", package: "swift-nio"), .product("NIOPosix", package: "swift-nio"),
            .product("NIOHTTP1", package: "swift-nio"),
            .product("NIOFoundationCompat", package: "swift-nio"),
        ]),
    tests(
        "CoordinatorProgram", .room("TestSupport"), .room("ControlServer"), .room("RunStore"),
        .room("SQLiteRunStore"), .room("UpgradeModel"), arguments),
    tests(
        "Operator", .room("TestSupport"), .room("UpgradeModel"), .room("ControlAPI"),
        .room("UpgradePlan"), .room("UpgradeEngine"), .room("ContentDigest"), arguments),
    Room(
        name: "EndToEndTests", kind: .tests,
        needs: [.product("Subprocess", package: "swift-subprocess")]),
]

// Which rooms this build has: all, or those named in SLUICE_ROOMS with everything beneath them and their tests.

func closure(of names: [String]) -> [Room] {
    var wanted = Set(names)
    var pending = names
    let byName = Dictionary(uniqueKeysWithValues: rooms.map { ($0.name, $0) })
    for name in names where byName["\(name)Tests"] != nil {
        wanted.insert("\(name)Tests")
        pending.append("\(name)Tests")
    }
    while let name = pending.popLast() {
        for case .room(let needed) in byName[name]?.needs ?? [] where wanted.insert(needed).inserted
        {
            pending.append(needed)
        }
    }
    return rooms.filter { wanted.contains($0.name) }
}

let selected: [Room]
if let names = Context.environment["SLUICE_ROOMS"], !names.isEmpty {
    selected = closure(of: names.split(separator: ",").map(String.init))
} else {
    selected = rooms
}

let swiftSettings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .enableUpcomingFeature("InferIsolatedConformances"),
]

let linked: [String: [LinkerSetting]] = [
    "CPostgres": [.linkedLibrary("pq")],
    "CPgQuery": [.linkedLibrary("pg_query")],
    "CCurl": [.linkedLibrary("curl")],
    "CLibcrypto": [.linkedLibrary("crypto")],
]

func target(_ room: Room) -> Target {
    let dependencies = room.needs.map { need -> Target.Dependency in
        switch need {
        case .room(let name): .target(name: name)
        case .product(let name, let package): .product(name: name, package: package)
        }
    }
    switch room.kind {
    case .library:
        return .target(
            name: room.name, dependencies: dependencies, exclude: room.exclude,
            swiftSettings: swiftSettings)
    case .cLibrary:
        return .target(
            name: room.name, dependencies: dependencies, exclude: ["README.md"],
            linkerSettings: linked[room.name] ?? [])
    case .executable:
        return .executableTarget(
            name: room.name, dependencies: dependencies, swiftSettings: swiftSettings)
    case .testSupport:
        return .target(
            name: room.name, dependencies: dependencies, path: "Tests/\(room.name)",
            swiftSettings: swiftSettings)
    case .testProgram:
        return .executableTarget(
            name: room.name, dependencies: dependencies, path: "Tests/\(room.name)",
            swiftSettings: swiftSettings)
    case .tests:
        return .testTarget(
            name: room.name, dependencies: dependencies, exclude: room.exclude,
            swiftSettings: swiftSettings)
    }
}

// A package is fetched only when a selected room needs a product of it.

let packages: [(name: String, dependency: Package.Dependency)] = [
    (
        "hummingbird",
        .package(
            url: "https://github.com/hummingbird-project/hummingbird.git", from: "2.28.1",
            traits: [])
    ),
    // What hummingbird brings along and ControlServer names itself.
    (
        "swift-http-types",
        .package(url: "https://github.com/apple/swift-http-types.git", from: "1.8.0")
    ),
    ("swift-nio", .package(url: "https://github.com/apple/swift-nio.git", from: "2.101.2")),
    (
        "swift-nio-extras",
        .package(url: "https://github.com/apple/swift-nio-extras.git", from: "1.35.2")
    ),
    ("swift-nio-ssl", .package(url: "https://github.com/apple/swift-nio-ssl.git", from: "2.37.6")),
    ("GRDB.swift", .package(url: "https://github.com/groue/GRDB.swift.git", from: "7.10.0")),
    ("Yams", .package(url: "https://github.com/jpsim/Yams.git", from: "6.2.2")),
    (
        "swift-argument-parser",
        .package(url: "https://github.com/apple/swift-argument-parser.git", from: "1.8.2")
    ),
    ("swift-log", .package(url: "https://github.com/apple/swift-log.git", from: "1.16.2")),
    ("swift-metrics", .package(url: "https://github.com/apple/swift-metrics.git", from: "2.13.0")),
    (
        "swift-service-lifecycle",
        .package(url: "https://github.com/swift-server/swift-service-lifecycle.git", from: "2.13.0")
    ),
    (
        "swift-subprocess",
        .package(
            url: "https://github.com/swiftlang/swift-subprocess.git", from: "1.0.2", traits: [])
    ),
]

let neededPackages = Set(
    selected.flatMap(\.needs).compactMap { need -> String? in
        if case .product(_, let package) = need { package } else { nil }
    })

let package = Package(
    name: "sluice",
    dependencies: packages.filter { neededPackages.contains($0.name) }.map(\.dependency),
    targets: selected.map(target)
)
