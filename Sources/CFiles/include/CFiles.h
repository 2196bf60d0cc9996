// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_CFILES_H
#define SLUICE_CFILES_H

/// Brings everything of the file system that a descriptor is on to the disk; -1 with errno when that failed.
int sluice_syncfs(int descriptor);

#endif
