// SPDX-License-Identifier: GPL-2.0
/*
 * Where the tracepoints of include/trace/events/ksm.h come to life.
 *
 * Floor 0: knows nobody.
 */
#define CREATE_TRACE_POINTS
#include <trace/events/ksm.h>
