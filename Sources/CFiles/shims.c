// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "CFiles.h"

#include <unistd.h>

int sluice_syncfs(int descriptor) { return syncfs(descriptor); }
