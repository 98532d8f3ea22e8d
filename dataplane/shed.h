// SPDX-License-Identifier: Apache-2.0
// shed: how hard a worker is pressed, and what gives way at each step (invariant 5).
//
// What for: one word that the modules of a worker understand, so that overload costs strangers
// first and never stalls what is already running. Who calls it: the worker sets the level once a
// turn and tells TCP (tcp_shed) and the sessions. Each level includes the ones before it. What can
// go wrong: nothing; every single thing that is shed is counted where it happens.
#pragma once

enum shed_level {
	SHED_NONE,
	SHED_COOKIES, // SYNs are answered with cookies: no memory before the handshake is complete
	SHED_REFUSE,  // new sessions get 421, new messages 452
	SHED_SHRINK,  // receive windows do not grow and close as they drain
	SHED_DROP,    // SYNs are dropped unanswered
};
