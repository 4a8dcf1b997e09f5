// SPDX-License-Identifier: GPL-2.0-only
/*
 * Main: ksm_bench CPU-SECONDS WORKLOAD:PAGES...
 *
 * Each workload has a process of its own, so it leaves nothing to the next one.
 * Ends with 1 if one has failed; the others are run all the same.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

struct wish wish;

static const struct workload *const lists[] = {
	scan_workloads, merge_workloads, feel_workloads, room_workloads, NULL
};

static const struct workload *find(const char *name)
{
	const struct workload *const *list, *workload;

	for (list = lists; *list; list++)
		for (workload = *list; workload->name; workload++)
			if (!strcmp(workload->name, name))
				return workload;
	return NULL;
}

static void run(const struct workload *workload)
{
	/* by 2 KSM forgets what others have left; what can be set then is as it was at boot */
	knob_set("run", 2);
	knob_set("run", 0);
	workload->run();
	exit(0);
}

static int run_apart(const struct workload *workload)
{
	int status;
	pid_t pid;

	printf("begin,%s,%lu\n", wish.workload, wish.pages);
	fflush(stdout);
	pid = fork();
	if (!pid)
		run(workload);
	if (pid < 0 || waitpid(pid, &status, 0) != pid) {
		printf("failed,%s,%lu,cannot start it: %m\n", wish.workload, wish.pages);
		return -1;
	}
	if (WIFSIGNALED(status))
		printf("failed,%s,%lu,killed: %s\n", wish.workload, wish.pages,
		       strsignal(WTERMSIG(status)));
	return status ? -1 : 0;
}

int main(int argc, char **argv)
{
	int i, bad = 0;

	if (argc > 1)
		wish.least_cpu = strtod(argv[1], NULL);
	for (i = 2; i < argc; i++) {
		const struct workload *workload;
		char *colon = strchr(argv[i], ':');

		if (colon)
			*colon = '\0';
		wish.workload = argv[i];
		wish.pages = colon ? strtoul(colon + 1, NULL, 10) : 0;
		workload = find(argv[i]);
		if (!workload || wish.pages < 16) {
			fprintf(stderr, "ksm_bench: %s: no such workload, or no pages\n", argv[i]);
			return 2;
		}
		bad |= run_apart(workload);
	}
	printf("end\n");
	return bad ? 1 : 0;
}
