# What is installed beside library and program: a systemd unit, completions, files for CMake; and what watches the published interface.
EXTRA_DIST += packaging/xonce@.service.in packaging/xonce-config-version.cmake.in packaging/completions.sh \
	packaging/abi.sh packaging/abi.suppress packaging/libxonce.abi packaging/check-packages.sh packaging/in-chroot.sh packaging/check-systemd.sh packaging/in-systemd.sh packaging/check-newcomer.sh packaging/fresh-root.sh \
	debian/changelog debian/control debian/copyright debian/rules debian/source/format \
	debian/not-installed debian/libxonce1.install debian/libxonce1.symbols debian/libxonce-dev.install debian/libxonce-dev.examples debian/libxonce-dev.lintian-overrides debian/libxonce-dev.manpages \
	debian/xonce.dirs debian/xonce.install debian/xonce.docs debian/xonce.manpages debian/xonce.postinst debian/xonce.postrm debian/xonce.prerm

cmakedir = $(libdir)/cmake/xonce
dist_cmake_DATA = packaging/xonce-config.cmake
nodist_cmake_DATA = packaging/xonce-config-version.cmake
CLEANFILES += packaging/xonce-config-version.cmake
packaging/xonce-config-version.cmake: packaging/xonce-config-version.cmake.in
	$(AM_V_GEN)$(MKDIR_P) packaging && $(SED) 's|@PACKAGE_VERSION[@]|$(PACKAGE_VERSION)|' $(srcdir)/packaging/xonce-config-version.cmake.in >$@.tmp && mv $@.tmp $@

if WITH_PROGRAM
if WITH_UNIT
nodist_systemdsystemunit_DATA = packaging/xonce@.service
endif
CLEANFILES += packaging/xonce@.service
packaging/xonce@.service: packaging/xonce@.service.in Makefile
	$(AM_V_GEN)$(MKDIR_P) packaging && $(SED) -e 's|@bindir[@]|$(bindir)|g' -e 's|@sysconfdir[@]|$(sysconfdir)|g' '$(srcdir)/packaging/xonce@.service.in' >'$@.tmp' && mv '$@.tmp' '$@'

# The program tells its options itself, so it must run where it is built.
if RUNS_HERE
completions = packaging/completions/xonce packaging/completions/_xonce packaging/completions/xonce.fish
CLEANFILES += $(completions)
if WITH_BASH_COMPLETION
nodist_bashcompletion_DATA = packaging/completions/xonce
endif
if WITH_ZSH_COMPLETION
nodist_zshcompletion_DATA = packaging/completions/_xonce
endif
if WITH_FISH_COMPLETION
nodist_fishcompletion_DATA = packaging/completions/xonce.fish
endif
make_completions = $(AM_V_GEN)$(MKDIR_P) packaging/completions && $(SHELL) $(srcdir)/packaging/completions.sh ./xonce$(EXEEXT) $(srcdir)/docs/xonce.conf
packaging/completions/xonce: xonce$(EXEEXT) packaging/completions.sh docs/xonce.conf
	$(make_completions) bash >$@.tmp && mv $@.tmp $@
packaging/completions/_xonce: xonce$(EXEEXT) packaging/completions.sh docs/xonce.conf
	$(make_completions) zsh >$@.tmp && mv $@.tmp $@
packaging/completions/xonce.fish: xonce$(EXEEXT) packaging/completions.sh docs/xonce.conf
	$(make_completions) fish >$@.tmp && mv $@.tmp $@
endif
endif

# Folders that are ours alone go with their last file.
uninstall-hook:
	@for dir in '$(DESTDIR)$(pkgdatadir)' '$(DESTDIR)$(docdir)' '$(DESTDIR)$(cmakedir)' '$(DESTDIR)$(xonceincludedir)'; do \
	  test ! -d "$$dir" || find "$$dir" -depth -type d -empty -exec rmdir {} \; ; done

.PHONY: abi check-systemd check-packages check-newcomer
# Records the published interface anew: after a change that was meant
abi: libxonce.la
	$(BASH_PROGRAM) $(srcdir)/packaging/abi.sh record $(abs_srcdir) $(abs_builddir)

# Builds the Debian packages, and tries them in a fresh Debian (needs root, debhelper, lintian, debootstrap and a mirror)
check-packages: dist
	$(BASH_PROGRAM) $(srcdir)/packaging/check-packages.sh $(abs_srcdir) $(abs_builddir) $(PACKAGE_VERSION)

# Follows README.md, docs/quickstart.md and docs/installing.md in a fresh Debian, timed (needs root, debootstrap and a mirror); NEWCOMER_CHECK=1: `./bootstrap check` too
check-newcomer:
	$(BASH_PROGRAM) $(srcdir)/packaging/check-newcomer.sh $(abs_srcdir) $(abs_builddir)

# Boots a fresh Debian in a virtual machine, and uses the unit there (needs root, debootstrap, a mirror, qemu-system-x86, e2fsprogs)
check-systemd: dist
	$(BASH_PROGRAM) $(srcdir)/packaging/check-systemd.sh $(abs_srcdir) $(abs_builddir) $(PACKAGE_VERSION)
