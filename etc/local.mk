# SPDX-License-Identifier: Apache-2.0
# The configuration file, systemd's files, and what plugin authors ask pkg-config for.

EXTRA_DIST += %D%/purser.ini %D%/purser-minimal.ini %D%/purserd.service.in %D%/purser.sysusers.conf \
	%D%/purser.tmpfiles.conf purser-plugin.pc.in purser-plugin-uninstalled.pc.in
grafanadir = $(pkgdatadir)/grafana
dist_grafana_DATA = %D%/grafana/purser-overview.json %D%/grafana/purser-project.json %D%/grafana/purser-store.json \
	%D%/grafana/purser-agent.json
prometheusdir = $(pkgdatadir)/prometheus
dist_prometheus_DATA = %D%/prometheus/purser.rules.yml
CLEANFILES += %D%/purserd.service purser-plugin.pc

# Directories are substituted here and not by configure, which does not expand them.
substitute_dirs = $(AM_V_GEN)$(MKDIR_P) $(@D) && $(SED) -e 's|@sbindir[@]|$(sbindir)|g' \
	-e 's|@sysconfdir[@]|$(sysconfdir)|g' -e 's|@prefix[@]|$(prefix)|g' \
	-e 's|@exec_prefix[@]|$(exec_prefix)|g' -e 's|@includedir[@]|$(includedir)|g' \
	-e 's|@plugindir[@]|$(plugindir)|g' -e 's|@bindir[@]|$(bindir)|g' \
	-e 's|@PURSER_API[@]|$(PURSER_API)|g' -e 's|@VERSION[@]|$(VERSION)|g'

%D%/purserd.service: %D%/purserd.service.in Makefile
	$(substitute_dirs) $(srcdir)/%D%/purserd.service.in >$@

purser-plugin.pc: purser-plugin.pc.in Makefile
	$(substitute_dirs) $(srcdir)/purser-plugin.pc.in >$@

pkgconfigdir = $(libdir)/pkgconfig
nodist_pkgconfig_DATA = purser-plugin.pc

# Inside the prefix: systemd looks into /usr/local/lib, too.
nodist_systemdsystemunit_DATA = %D%/purserd.service
dist_systemdsystemunit_DATA = %D%/purserd.socket

# An operator's file is never overwritten, and removed only if nobody has changed it.
iniroot = $(DESTDIR)$(sysconfdir)/purser
install-data-local:
	@$(MKDIR_P) '$(iniroot)' '$(DESTDIR)$(prefix)/lib/sysusers.d' '$(DESTDIR)$(prefix)/lib/tmpfiles.d'
	$(INSTALL_DATA) '$(srcdir)/%D%/purser.sysusers.conf' '$(DESTDIR)$(prefix)/lib/sysusers.d/purser.conf'
	$(INSTALL_DATA) '$(srcdir)/%D%/purser.tmpfiles.conf' '$(DESTDIR)$(prefix)/lib/tmpfiles.d/purser.conf'
	@if test -e '$(iniroot)/purser.ini'; then \
		echo "keeping $(iniroot)/purser.ini"; \
	else \
		$(INSTALL_DATA) '$(srcdir)/%D%/purser.ini' '$(iniroot)/purser.ini'; \
	fi

uninstall-local:
	rm -f '$(DESTDIR)$(prefix)/lib/sysusers.d/purser.conf' '$(DESTDIR)$(prefix)/lib/tmpfiles.d/purser.conf'
	@if test -e '$(iniroot)/purser.ini' && cmp -s '$(srcdir)/%D%/purser.ini' '$(iniroot)/purser.ini'; then \
		rm -f '$(iniroot)/purser.ini'; \
	fi
