// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// Where a bundle has the files that browsers ask for under names that change with their content.
public enum AssetsDirectory {
    /// The usual places, in the order in which they are looked for.
    public static let usual = ["static/assets", "public/assets", "assets"]

    /// The first of the usual places that the bundle has.
    public static func conventional(in bundle: String) -> String? {
        usual.first { path in
            var status = stat()
            return lstat("\(bundle)/\(path)", &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
        }
    }
}
