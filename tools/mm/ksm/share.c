// SPDX-License-Identifier: GPL-2.0-only
/*
 * ksm_share: see KSM do what it exists for, on real data, and check that it
 * does it right.
 *
 * Several processes load the same files (a tar archive) into private memory, as
 * simulations load the same tables, each with data of its own beside it, and
 * offer it with madvise().  Once the savings have settled, each compares every
 * byte with the archive; one writes to pages that are shared, and all compare
 * again.  Ends with 0 only if memory was saved and every byte is right.
 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "share.h"

#define OWN_PART 8		/* own data: an eighth of the files */
#define OWN_LEAST 64		/* pages */
#define EXPECT_PERCENT 95	/* of the pages that are equal */
#define SCANS_WANTED 3
#define SLEEP_MILLISECS 20
#define COPIES_MAX 64

size_t page_size;

struct options {
	long	copies;
	long	pages_to_scan;
	bool	ascii;
};

static int help(void)
{
	fputs("usage: ksm_share [-c COPIES] [-s PAGES_TO_SCAN] [-a] ARCHIVE.tar\n"
	      "  -c  worker processes, 2 to 64 (default 4)\n"
	      "  -s  how many pages ksmd scans before it sleeps for 20 ms (default: by size)\n"
	      "  -a  draw with ASCII characters only\n", stderr);
	return 2;
}

static __u64 job_pages(const struct job *job)
{
	return job->copies * (job->files.pages + job->own_pages);
}

static int prepare(struct job *job)
{
	if (archive_measure(job->archive, &job->files))
		return -1;
	job->own_pages = job->files.pages / OWN_PART;
	if (job->own_pages < OWN_LEAST)
		job->own_pages = OWN_LEAST;
	printf("%u workers load %llu file%s, %s, each with %s of its own beside\n",
	       job->copies, job->files.files, job->files.files == 1 ? "" : "s",
	       amount(job->files.bytes), amount(job->own_pages * page_size));
	return 0;
}

static int load(struct crew *crew, struct outcome *outcome)
{
	const struct job *job = crew->job;

	if (crew_order(crew, ORDER_LOAD, "loading") ||
	    crew_order_one(crew, 0, ORDER_COUNT) ||
	    crew_order(crew, ORDER_OFFER, NULL))
		return -1;
	outcome->possible = job->copies * job->files.pages - crew->states[0].distinct;
	return 0;
}

static int scan(struct crew *crew, struct watch *watch, const struct options *options)
{
	__u64 pages = job_pages(crew->job);
	long batch = options->pages_to_scan;

	if (!batch)	/* some hundred batches are a full scan */
		batch = pages / 100 > 1000 ? pages / 100 : 1000;
	watch->scans_wanted = SCANS_WANTED;
	watch->limit = 120 + pages * 0.0004;
	if (ksmd_start(batch, SLEEP_MILLISECS) || ksmd_sample(&watch->start))
		return -1;
	printf("offered %s with madvise(MADV_MERGEABLE); AnonPages is %s\n"
	       "run=1 pages_to_scan=%ld sleep_millisecs=%d, the other knobs as they were\n",
	       amount(pages * page_size), amount(watch->start.anon_kib * KIB),
	       batch, SLEEP_MILLISECS);
	return watch_until_settled(watch, crew);
}

static int verify(struct crew *crew, struct outcome *outcome)
{
	const struct job *job = crew->job;

	if (crew_order(crew, ORDER_VERIFY, "verifying"))
		return -1;
	outcome->verified += job->copies * (job->files.bytes + job->own_pages * page_size);
	return 0;
}

static int isolate(struct crew *crew, struct outcome *outcome)
{
	long before, after;

	if (ksmd_cow_events(&before) || crew_order_one(crew, 0, ORDER_REWRITE) ||
	    ksmd_cow_events(&after))
		return -1;
	outcome->rewritten = crew->states[0].rewritten;
	outcome->copied = after - before;
	printf("worker 1 wrote to %llu pages; all compare again\n", outcome->rewritten);
	return verify(crew, outcome);
}

static int judge(const struct outcome *outcome)
{
	const struct watch *watch = outcome->watch;
	__u64 saved = watch->samples[watch->nr - 1].sharing;

	if (!saved)
		return trouble("nothing was saved");
	if (saved * 100 < outcome->possible * EXPECT_PERCENT)
		return trouble("saved %s, less than %d %% of what is equal",
			       amount(saved * page_size), EXPECT_PERCENT);
	if (saved > outcome->possible)
		return trouble("pages_sharing is %llu, but only %llu pages have a twin",
			       saved, outcome->possible);
	if (outcome->copied * 100 < (long)outcome->rewritten * EXPECT_PERCENT)
		return trouble("wrote to %llu pages, but only %ld copies on write were counted",
			       outcome->rewritten, outcome->copied);
	return 0;
}

/* Ends the poll() under way; what follows puts the knobs back. */
static void note_interrupt(int signal)
{
	(void)signal;
}

static int run(struct job *job, const struct options *options)
{
	struct watch watch = { 0 };
	struct outcome outcome = { .job = job, .watch = &watch, .ascii = options->ascii };
	struct crew crew;

	if (prepare(job) || crew_start(&crew, job) || load(&crew, &outcome))
		return -1;
	if (scan(&crew, &watch, options))
		return -1;
	printf("\nsettled; every worker compares every byte with the files\n");
	if (verify(&crew, &outcome) || isolate(&crew, &outcome) || crew_dismiss(&crew))
		return -1;
	report_print(&outcome);
	return judge(&outcome);
}

int main(int argc, char **argv)
{
	struct options options = { .copies = 4 };
	struct job job;
	int option, bad;

	while ((option = getopt(argc, argv, "c:s:a")) != -1) {
		switch (option) {
		case 'c':
			options.copies = strtol(optarg, NULL, 10);
			break;
		case 's':
			options.pages_to_scan = strtol(optarg, NULL, 10);
			break;
		case 'a':
			options.ascii = true;
			break;
		default:
			return help();
		}
	}
	if (optind + 1 != argc || options.copies < 2 || options.copies > COPIES_MAX ||
	    options.pages_to_scan < 0)
		return help();
	signal(SIGPIPE, SIG_IGN);	/* a dead worker is found by its pipe */
	signal(SIGINT, note_interrupt);
	signal(SIGTERM, note_interrupt);
	setvbuf(stdout, NULL, _IOLBF, 0);
	page_size = sysconf(_SC_PAGESIZE);
	job = (struct job){ .archive = argv[optind], .copies = options.copies };
	bad = run(&job, &options);
	if (bad)
		printf("FAILED: %s\n", trouble_line());
	ksmd_restore();
	return bad ? 1 : 0;
}
