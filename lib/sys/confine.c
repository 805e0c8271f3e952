/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "confine.h"

#include <errno.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>

#include <seccomp.h>

#include "log.h"

static enum err capabilities_keep(unsigned int keep)
{
	static const cap_value_t admin[] = {CAP_NET_ADMIN};
	cap_t caps = cap_init();
	enum err e = ERR_IO;

	if (caps == NULL)
		return ERR_FULL;
	if ((keep & CONFINE_NET_ADMIN) != 0) {
		/* Only what we have: without root the TUN device may have been handed to us. */
		cap_t have = cap_get_proc();
		cap_flag_value_t set = CAP_CLEAR;

		if (have != NULL)
			cap_get_flag(have, CAP_NET_ADMIN, CAP_PERMITTED, &set);
		cap_free(have);
		cap_set_flag(caps, CAP_PERMITTED, 1, admin, set);
		cap_set_flag(caps, CAP_EFFECTIVE, 1, admin, set);
	}
	if (cap_set_proc(caps) == 0)
		e = OK;
	cap_free(caps);
	return e;
}

/* A deny list of what none of our services does: it keeps a hijacked one from becoming another
 * program, looking into others, or reaching rarely used kernel code. */
static enum err calls_refuse(unsigned int keep)
{
	static const int refused[] = {SCMP_SYS(ptrace), SCMP_SYS(process_vm_readv),
		SCMP_SYS(process_vm_writev), SCMP_SYS(kexec_load), SCMP_SYS(init_module),
		SCMP_SYS(finit_module), SCMP_SYS(delete_module), SCMP_SYS(mount), SCMP_SYS(umount2),
		SCMP_SYS(pivot_root), SCMP_SYS(chroot), SCMP_SYS(swapon), SCMP_SYS(reboot),
		SCMP_SYS(keyctl), SCMP_SYS(add_key), SCMP_SYS(request_key), SCMP_SYS(perf_event_open),
		SCMP_SYS(userfaultfd), SCMP_SYS(setns), SCMP_SYS(unshare), SCMP_SYS(open_by_handle_at),
		SCMP_SYS(io_uring_setup)};
	static const int exec[] = {SCMP_SYS(execve), SCMP_SYS(execveat)};
	scmp_filter_ctx f = seccomp_init(SCMP_ACT_ALLOW);
	int r = 0;

	if (f == NULL)
		return ERR_FULL;
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		r |= seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), refused[i], 0);
	for (size_t i = 0; i < 2 && (keep & CONFINE_EXEC) == 0; i++)
		r |= seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), exec[i], 0);
	if (r == 0)
		r = seccomp_load(f);
	seccomp_release(f);
	return r == 0 ? OK : ERR_IO;
}

enum err confine(unsigned int keep)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return ERR_IO;
	enum err e = capabilities_keep(keep);
	if (e == OK)
		e = calls_refuse(keep);
	if (e != OK)
		log_error("cannot give up privileges: %s", strerror(errno));
	return e;
}
