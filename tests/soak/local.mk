# make soak: SOAK_SECONDS=300 on a private RocketMQ (Java and Maven)
EXTRA_DIST += tests/soak/soak.sh
.PHONY: soak
soak: all
	$(AM_V_at)TOP_SRCDIR=$(abs_top_srcdir) TOP_BUILDDIR=$(abs_top_builddir) XONCE=$(abs_top_builddir)/xonce $(BASH_PROGRAM) $(srcdir)/tests/soak/soak.sh
