# SPDX-License-Identifier: GPL-2.0-only
# Build the KSM selftests of a kernel tree for a guest: static, out of the tree.
#
#	make -f selftests.mk TREE=KERNEL-TREE HEADERS=KERNEL-OUTPUT OUT=FOLDER [PREFIX=base_] [CROSS=i686-linux-gnu-]
#
# ksm_stress.c, ksm_tests.c and every ksm_*_tests.c is a program; what other
# ksm_*.c and the files of mm's own hold is there for them to link with.

src	:= $(TREE)/tools/testing/selftests/mm
sources	:= $(notdir $(wildcard $(src)/ksm_*.c))
tests	:= $(filter %_tests.c ksm_stress.c,$(sources))
shared	:= $(filter-out $(tests),$(sources)) vm_util.c thp_settings.c
programs := $(tests:%.c=$(OUT)/$(PREFIX)%)

CC	:= ccache $(CROSS)gcc
CFLAGS	:= -O2 -Wall -pthread -D_GNU_SOURCE= -MMD -I$(TREE) \
	-isystem $(HEADERS)/usr/include -isystem $(TREE)/tools/include/uapi

# ours need none of Debian's libraries, which there are not for other machines
LIBS	:= $(if $(CROSS),,-lnuma)

all: $(programs)

$(programs): $(OUT)/$(PREFIX)%: $(OUT)/obj/%.o $(OUT)/obj/shared.a
	$(CC) -static -pthread -o $@ $^ $(LIBS) -lrt -lm
	@echo '  LD      $(@F)'

$(OUT)/obj/shared.a: $(shared:%.c=$(OUT)/obj/%.o)
	rm -f $@
	$(CROSS)ar rcs $@ $^

$(OUT)/obj/%.o: $(src)/%.c | $(OUT)/obj
	$(CC) $(CFLAGS) -c -o $@ $<
	@echo '  CC      $(@F)'

$(OUT)/obj:
	mkdir -p $@

-include $(wildcard $(OUT)/obj/*.d)
.PHONY: all
.DELETE_ON_ERROR:
.SECONDARY:
