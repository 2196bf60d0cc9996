# SPDX-License-Identifier: Apache-2.0
RELEASE, AUTHOR = "v1", "author"
