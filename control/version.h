// SPDX-License-Identifier: Apache-2.0
// version: the version that `--version` of posternd and postern prints. A constant; nothing can go
// wrong.
#pragma once

#define POSTERN_VERSION "0.1.0"
