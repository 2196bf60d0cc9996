# SPDX-License-Identifier: Apache-2.0
RELEASE, AUTHOR = "v2", "written_by"
