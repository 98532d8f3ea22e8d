// SPDX-License-Identifier: Apache-2.0
// shed: how hard a worker is pressed, and what gives way at each step (invariant 5).
//
// What for: one word that the modules of a worker understand, so that overload costs strangers
// first and never stalls what is already running. Who calls it: the worker takes stock once a
// millisecond (shed_update) and tells TCP and the sessions the level. Each level includes the ones
// before it. A level is entered as soon as one resource passes its mark, and left one step at a
// time after SHED_CALM_US in which every resource stayed a twentieth below it: a level that flaps
// would refuse and admit in turn. What can go wrong: nothing; every single thing that is shed is
// counted where it happens. The levels and the resources are rows of control/abi/shed.def, for
// `postern status` tells of them.
#pragma once

#include "control/abi/model.h"

#define SHED_CALM_US 100000ull

// Used per mille of what there is; of the loop: us that a busy turn takes, smoothed.
struct shed_use {
	uint32_t of[SHED_RESOURCES];
};

struct shed {
	enum shed_level level;
	enum shed_resource cause; // what raised it last
	uint64_t calm_us;         // since when use has been below the level; 0: it is not
};

// True: the level has changed.
bool shed_update(struct shed *s, const struct shed_use *use, uint64_t now_us);
