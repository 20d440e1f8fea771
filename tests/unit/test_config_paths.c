/* SPDX-License-Identifier: Apache-2.0 */
/* config: where the socket is when nobody says, whose directory it may be in, files with secrets. */
#include <config.h>
#include <errno.h>
#include "config_fixture.h"

#define LONG50 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static void default_socket(void **state)
{
	static const struct { const char *env[4]; uid_t uid; const char *path; } rows[] = {
		{ { NULL }, 1000, "/tmp/purser-1000/purser.sock" },
		{ { NULL }, 0, "/run/purser/purser.sock" },
		{ { "XDG_RUNTIME_DIR=/run/user/1000" }, 1000, "/run/user/1000/purser.sock" },
		{ { "XDG_RUNTIME_DIR=" }, 1000, "/tmp/purser-1000/purser.sock" },
		{ { "XDG_RUNTIME_DIR=/run/user/0" }, 0, "/run/purser/purser.sock" },
		{ { "XDG_RUNTIME_DIR=/run/user/0", "PURSER_SOCKET=/x/y" }, 0, "/x/y" },
		{ { "XDG_RUNTIME_DIR=/r", "PURSER_SOCKET=" }, 5, "/r/purser.sock" },
		{ { "PURSER_SOCKETS=/no", "XPURSER_SOCKET=/no" }, 5, "/tmp/purser-5/purser.sock" },
	};
	const char *too_long[] = { "XDG_RUNTIME_DIR=/" LONG50 LONG50, NULL };
	char path[256], why[256];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		assert_int_equal(cfg_default_socket(rows[i].env, rows[i].uid, path, sizeof(path), why,
			sizeof(why)), 0);
		assert_string_equal(path, rows[i].path);
	}
	assert_int_equal(cfg_default_socket(NULL, 7, path, sizeof(path), why, sizeof(why)), 0);
	assert_string_equal(path, "/tmp/purser-7/purser.sock");
	assert_int_equal(cfg_default_socket(too_long, 5, path, sizeof(path), why, sizeof(why)), -1);
	assert_string_equal(why, "the path has 113 bytes, and a socket's path at most 107: set XDG_RUNTIME_DIR to a "
		"shorter one");
}

/* A user number that nobody has, so that no real directory is touched. */
enum { NOBODY = 3987654321u };
#define OWN_DIR "/tmp/purser-3987654321"

static void own_directory(void **state)
{
	const char *path = OWN_DIR "/purser.sock";
	char why[256] = "";
	bool root = geteuid() == 0;

	(void)state;
	rmdir(OWN_DIR);
	unlink(OWN_DIR);
	assert_int_equal(cfg_socket_dir(path, NOBODY, false, why, sizeof(why)), -1);
	assert_string_equal(why, OWN_DIR " does not exist: no agent of yours is running");

	/* Made by us, so it belongs to us, and not to that user. */
	assert_int_equal(cfg_socket_dir(path, NOBODY, true, why, sizeof(why)), -1);
	assert_string_equal(why, OWN_DIR " belongs to somebody else: set PURSER_SOCKET to a path of yours");
	if (root) {
		assert_int_equal(chown(OWN_DIR, NOBODY, NOBODY), 0);
		assert_int_equal(cfg_socket_dir(path, NOBODY, true, why, sizeof(why)), 0);
		assert_int_equal(cfg_socket_dir(path, NOBODY, false, why, sizeof(why)), 0);
		assert_int_equal(chmod(OWN_DIR, 0750), 0);
		assert_int_equal(cfg_socket_dir(path, NOBODY, false, why, sizeof(why)), -1);
		assert_string_equal(why, OWN_DIR " is open to others: chmod 700, or set PURSER_SOCKET");
	}
	assert_int_equal(rmdir(OWN_DIR), 0);

	/* A symbolic link to a good directory is not one. */
	assert_int_equal(symlink(fix_dir, OWN_DIR), 0);
	assert_int_equal(cfg_socket_dir(path, NOBODY, true, why, sizeof(why)), -1);
	assert_string_equal(why, OWN_DIR " is not a directory: remove it, or set PURSER_SOCKET");
	assert_int_equal(unlink(OWN_DIR), 0);

	/* Directories that somebody has chosen are not made, and not judged. */
	assert_int_equal(cfg_socket_dir("/nonexistent/x/p.sock", NOBODY, true, why, sizeof(why)), 0);
	assert_int_equal(access("/nonexistent", F_OK), -1);
	assert_int_equal(cfg_socket_dir("p.sock", NOBODY, true, why, sizeof(why)), 0);
	assert_int_equal(cfg_socket_dir("/p.sock", NOBODY, true, why, sizeof(why)), 0);
}

static void makes_own_directory(void **state)
{
	char path[128], dir[64], why[256];
	struct stat st;

	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/purser-%lu", (unsigned long)geteuid());
	snprintf(path, sizeof(path), "%s/purser.sock", dir);
	if (access(dir, F_OK) == 0)
		return; /* an agent of this user may be running there */
	assert_int_equal(cfg_socket_dir(path, geteuid(), true, why, sizeof(why)), 0);
	assert_int_equal(lstat(dir, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(rmdir(dir), 0);
}

static void state_dir(void **state)
{
	static const struct { const char *env[4]; uid_t uid; const char *path; } rows[] = {
		{ { NULL }, 0, "/var/lib/purser" },
		{ { NULL }, 1, "" },
		{ { "HOME=/home/me" }, 1, "/home/me/.local/state/purser" },
		{ { "HOME=/home/me", "XDG_STATE_HOME=/s" }, 1, "/s/purser" },
		{ { "HOME=/home/me", "STATE_DIRECTORY=/var/lib/a:/var/lib/b" }, 1, "/var/lib/a" },
		{ { "STATE_DIRECTORY=relative" }, 0, "/var/lib/purser" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct cfg_inputs in = fix_inputs();
		struct cfg *c;
		int rc;

		in.path = NULL;
		in.env = rows[i].env;
		in.uid = rows[i].uid;
		assert_string_equal(fix_load(&in, &c, &rc), "");
		assert_string_equal(cfg_text(cfg_one(c, CFG_AGENT), CFG_AGENT_STATE_DIR), rows[i].path);
		cfg_unref(c);
	}
}

static void secrets(void **state)
{
	char buf[16], why[256];

	(void)state;
	fix_text("s", "hunter2\n");
	assert_int_equal(cfg_read_secret("s", buf, sizeof(buf), why, sizeof(why)), 7);
	assert_string_equal(buf, "hunter2");
	fix_text("s", "two\n\n");
	assert_int_equal(cfg_read_secret("s", buf, sizeof(buf), why, sizeof(why)), 4);
	assert_string_equal(buf, "two\n");
	fix_text("s", "dos\r\n");
	assert_int_equal(cfg_read_secret("s", buf, sizeof(buf), why, sizeof(why)), 3);
	fix_text("s", " blanks stay ");
	assert_int_equal(cfg_read_secret("s", buf, sizeof(buf), why, sizeof(why)), 13);
	fix_text("s", "");
	assert_int_equal(cfg_read_secret("s", buf, sizeof(buf), why, sizeof(why)), 0);
	assert_string_equal(buf, "");
	fix_text("s", "123456789012345");
	assert_int_equal(cfg_read_secret("s", buf, sizeof(buf), why, sizeof(why)), 15);
	fix_text("s", "1234567890123456");
	assert_int_equal(cfg_read_secret("s", buf, sizeof(buf), why, sizeof(why)), -1);
	assert_string_equal(why, "it has more than 15 bytes");
	fix_write("s", "a\0b", 3);
	assert_int_equal(cfg_read_secret("s", buf, sizeof(buf), why, sizeof(why)), -1);
	assert_string_equal(why, "there is a NUL byte in it");
	assert_int_equal(chmod("s", 0602), 0);
	assert_int_equal(cfg_read_secret("s", buf, sizeof(buf), why, sizeof(why)), -1);
	assert_string_equal(why, "every user may write to it: chmod o-w");
	assert_int_equal(unlink("s"), 0);
	assert_int_equal(cfg_read_secret("s", buf, sizeof(buf), why, sizeof(why)), -1);
	assert_string_equal(why, "cannot read it: No such file or directory");
	assert_int_equal(mkfifo("s", 0600), 0); /* and does not wait for a writer */
	assert_int_equal(cfg_read_secret("s", buf, sizeof(buf), why, sizeof(why)), -1);
	assert_string_equal(why, "it is not a regular file");
	assert_int_equal(unlink("s"), 0);
}

/* Where everybody may write, everybody may put their own in the place of ours; the sticky bit stops that. */
static void writable_by_all(void **state)
{
	static const struct { mode_t dir, file; const char *want; } rows[] = {
		{ 01777, 0600, "" }, { 0775, 0600, "" },
		{ 0777, 0600, "purser.ini:3: [backend main] password_file = %1$s/d/pw: every user may write to %1$s/d and put "
			"something else there: chmod o-w %1$s/d\n" },
		{ 0755, 0602, "purser.ini:3: [backend main] password_file = %1$s/d/pw: every user may write to it: chmod o-w\n" },
	};
	char text[300], want[600], why[256];
	struct cfg *c;
	int rc;

	(void)state;
	assert_int_equal(mkdir("d", 0755), 0);
	fix_text("d/pw", "hunter2\n");
	snprintf(text, sizeof(text), "[backend main]\nplugin = redis\npassword_file = %s/d/pw\n", fix_dir);
	fix_text("purser.ini", text);
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct cfg_inputs in = fix_inputs();

		assert_int_equal(chmod("d", rows[i].dir) | chmod("d/pw", rows[i].file), 0);
		snprintf(want, sizeof(want), rows[i].want, fix_dir);
		assert_string_equal(fix_load(&in, &c, &rc), want);
		if (rc == CFG_OK)
			cfg_unref(c);
	}
	/* The socket's directory, too; but not for a client, who has no say in it. */
	snprintf(text, sizeof(text), "%s/d/p.sock", fix_dir);
	assert_int_equal(chmod("d", 0777), 0);
	assert_int_equal(cfg_socket_dir(text, geteuid(), true, why, sizeof(why)), -1);
	snprintf(want, sizeof(want), "%s/d is writable by every user, who could put a socket of their own there: chmod o-w",
		fix_dir);
	assert_string_equal(why, want);
	assert_int_equal(cfg_socket_dir(text, geteuid(), false, why, sizeof(why)), 0);
	assert_int_equal(chmod("d", 01777), 0);
	assert_int_equal(cfg_socket_dir(text, geteuid(), true, why, sizeof(why)), 0);
}

/* The file itself says which code is loaded; a secret in it is for its readers only. */
static void main_file(void **state)
{
	struct cfg_inputs in = fix_inputs();
	struct cfg *c;
	int rc;

	(void)state;
	fix_text("purser.ini", "[backend main]\nplugin = redis\npassword = hunter2\n");
	assert_int_equal(chmod("purser.ini", 0602), 0);
	assert_string_equal(fix_load(&in, &c, &rc), "purser.ini: every user may write to it: chmod o-w purser.ini\n");
	assert_int_equal(rc, CFG_INVALID);
	assert_int_equal(chmod("purser.ini", 0644), 0);
	assert_string_equal(fix_load(&in, &c, &rc), "warning: purser.ini:3: [backend main] password is a secret, and every "
		"user may read this file: chmod o-r\n");
	cfg_unref(c);
	assert_int_equal(chmod("purser.ini", 0640), 0);
	assert_string_equal(fix_load(&in, &c, &rc), "");
	cfg_unref(c);
}

static bool not_new(const void *arg, const char *path, enum cfg_path_use use)
{
	(void)arg;
	return use != CFG_PATH_READ || strstr(path, "new") == NULL;
}

/* What the process has given up is told with its place, before it is tried. */
static void given_up(void **state)
{
	struct cfg_inputs in = fix_inputs();
	struct cfg *c;
	int rc;

	(void)state;
	in.may = not_new;
	fix_text("purser.ini", "[backend main]\nplugin = redis\npassword_file = /new/file\n");
	assert_string_equal(fix_load(&in, &c, &rc), "purser.ini:3: [backend main] password_file = /new/file: the sandbox was "
		"closed without this path when the agent started: restart the agent for it\n");
	fix_text("purser.ini", "[backend main]\nplugin = redis\npassword_file = /nonexistent/file\n");
	assert_non_null(strstr(fix_load(&in, &c, &rc), "No such file"));
}

static void note_path(void *arg, const char *path, enum cfg_path_use use)
{
	char *out = arg;

	snprintf(out + strlen(out), 256 - strlen(out), "%d %s\n", (int)use, path);
}

static void each_path(void **state)
{
	struct cfg_inputs in = fix_inputs();
	char text[256] = "", want[256], pw[300];
	struct cfg *c;
	int rc;

	(void)state;
	fix_text("pw", "hunter2\n");
	snprintf(pw, sizeof(pw), "[agent]\nsocket = /x/s\nstate_dir = /y\n[backend main]\nplugin = redis\n"
		"password_file = %s/pw\n", fix_dir);
	fix_text("purser.ini", pw);
	assert_int_equal(chmod("pw", 0600), 0);
	assert_string_equal(fix_load(&in, &c, &rc), "");
	cfg_each_path(c, note_path, text);
	snprintf(want, sizeof(want), "0 purser.ini\n3 /x/s\n2 /y\n0 %s/pw\n", fix_dir);
	assert_string_equal(text, want);
	cfg_unref(c);
}

/* Everybody may read it: said, and no more, for that is how secrets are mounted in containers. */
static void readable_by_all(void **state)
{
	struct cfg_inputs in = fix_inputs();
	char text[256], want[512];
	struct cfg *c;
	int rc;

	(void)state;
	fix_text("pw", "hunter2\n");
	assert_int_equal(chmod("pw", 0644), 0);
	snprintf(text, sizeof(text), "[backend main]\nplugin = redis\npassword_file = %s/pw\n", fix_dir);
	fix_text("purser.ini", text);
	snprintf(want, sizeof(want), "warning: purser.ini:3: [backend main] password_file = %s/pw: every user may "
		"read it: chmod o-r\n", fix_dir);
	assert_string_equal(fix_load(&in, &c, &rc), want);
	assert_int_equal(rc, CFG_OK);
	cfg_unref(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(default_socket),
		cmocka_unit_test(own_directory),
		cmocka_unit_test(makes_own_directory),
		cmocka_unit_test(state_dir),
		cmocka_unit_test(secrets),
		cmocka_unit_test(readable_by_all), cmocka_unit_test(writable_by_all),
		cmocka_unit_test(main_file), cmocka_unit_test(given_up), cmocka_unit_test(each_path),
	};

	return cmocka_run_group_tests_name("config/paths", tests, fix_setup, fix_teardown);
}
