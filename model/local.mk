# The models of what may never happen, and their exhaustive check (minutes, and the program spin): apart from `make check`.
MODEL_FILES = model/queue.pml model/record.pml model/offset.pml model/switch.pml model/check.sh
EXTRA_DIST += $(MODEL_FILES) model/README.md

.PHONY: check-model
check-model:
	$(AM_V_at)CC='$(CC)' TOP_SRCDIR=$(abs_srcdir) TOP_BUILDDIR=$(abs_builddir) $(BASH_PROGRAM) $(srcdir)/model/check.sh
