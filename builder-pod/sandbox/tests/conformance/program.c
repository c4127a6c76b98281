// Makes calls about identity, ownership and permissions, and prints what came of each: a line for each check.
//
// The lines in `expected` were printed by a real root with the capabilities that container runtimes give. The same
// program must print the same in a step. It works in the directory that it starts in, which is empty.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/types.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#define DEFAULT_CAPABILITIES 0xa80425fbULL
#define KEEP ((uid_t)-1)

static char self[4096];

// The result of a call: its value, or the name of its error.
static const char *came(long result) {
  static char texts[8][32];
  static int next;
  char *text = texts[next++ % 8];
  if (result < 0) snprintf(text, 32, "%s", strerrorname_np(errno));
  else snprintf(text, 32, "%ld", result);
  return text;
}

static void say(const char *format, ...) {
  va_list list;
  va_start(list, format);
  vprintf(format, list);
  va_end(list);
  fflush(stdout);
}

static void capabilities(unsigned long long sets[3]) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2];
  syscall(SYS_capget, &header, data);
  sets[0] = data[0].effective | (unsigned long long)data[1].effective << 32;
  sets[1] = data[0].permitted | (unsigned long long)data[1].permitted << 32;
  sets[2] = data[0].inheritable | (unsigned long long)data[1].inheritable << 32;
}

static long set_capabilities(unsigned long long effective, unsigned long long permitted, unsigned long long inheritable) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2] = {
      {effective, permitted, inheritable}, {effective >> 32, permitted >> 32, inheritable >> 32}};
  return syscall(SYS_capset, &header, data);
}

// The result of an open, whatever number the descriptor has.
static const char *opened(int file) {
  if (file < 0) return came(-1);
  close(file);
  return "opened";
}

// Who this process is, in one line.
static void who(const char *name) {
  uid_t r, e, s;
  gid_t R, E, S, groups[64];
  unsigned long long sets[3];
  getresuid(&r, &e, &s);
  getresgid(&R, &E, &S);
  int count = getgroups(64, groups);
  capabilities(sets);
  say("%s: %u %u %u %d / %u %u %u %d / groups", name, r, e, s, setfsuid(KEEP), R, E, S, setfsgid(KEEP));
  for (int i = 0; i < count; i++) say(" %u", groups[i]);
  say(" / caps %llx %llx %llx\n", sets[0], sets[1], sets[2]);
}

static void mode_of(const char *name, const char *path) {
  struct stat status;
  if (lstat(path, &status) < 0) say("%s: %s %s\n", name, path, came(-1));
  else
    say("%s: %s %u:%u %o %u:%u\n", name, path, status.st_uid, status.st_gid, status.st_mode, major(status.st_rdev),
        minor(status.st_rdev));
}

static int file(const char *path, mode_t mode) {
  int made = open(path, O_CREAT | O_EXCL | O_RDWR, 0600);
  if (made < 0) return made;
  write(made, "text", 4);
  fchmod(made, mode);
  return close(made);
}

static void copy_self(const char *path) {
  int from = open(self, O_RDONLY), to = open(path, O_CREAT | O_WRONLY, 0755);
  while (copy_file_range(from, NULL, to, NULL, 1 << 30, 0) > 0) {}
  close(from);
  close(to);
}

// Runs a check in a process of its own, in a directory of its own.
static void check(const char *name, void (*body)(void)) {
  pid_t child = fork();
  if (child == 0) {
    mkdir(name, 0755);
    chdir(name);
    body();
    exit(0);
  }
  int status;
  waitpid(child, &status, 0);
  if (status != 0) say("%s: ended with %d\n", name, status);
}

static void become(uid_t id) {
  setgroups(0, NULL);
  setresgid(id, id, id);
  setresuid(id, id, id);
}

static void first(void) { who("first"); }

static void users(void) {
  say("setresuid(0,7,8): %s\n", came(setresuid(0, 7, 8)));
  who("after");
  say("setuid(9): %s\n", came(setuid(9)));
  say("setuid(8): %s\n", came(setuid(8)));
  who("after");
  say("setreuid(8,0): %s\n", came(setreuid(8, 0)));
  who("after");
  say("setuid(-1): %s\n", came(syscall(SYS_setuid, -1)));
  say("setreuid(5,-1): %s\n", came(setreuid(5, KEEP)));
  who("after");
  say("setresuid(6,6,6): %s\n", came(setresuid(6, 6, 6)));
  who("after");
  say("setresuid(0,-1,-1): %s\n", came(setresuid(0, KEEP, KEEP)));
  say("seteuid(5): %s\n", came(seteuid(5)));
}

static void groups(void) {
  gid_t wanted[] = {30, 10, 20, 10};
  say("setgroups: %s\n", came(setgroups(4, wanted)));
  who("after");
  say("getgroups(1): %s\n", came(getgroups(1, wanted)));
  say("getgroups(0): %s\n", came(getgroups(0, NULL)));
  say("getgroups(-1): %s\n", came(getgroups(-1, NULL)));
  say("setgroups(65537): %s\n", came(syscall(SYS_setgroups, 65537, wanted)));
  say("setresgid(4,5,6): %s\n", came(setresgid(4, 5, 6)));
  say("setregid(5,4): %s\n", came(setregid(5, 4)));
  who("after");
  become(77);
  say("setgroups as user: %s\n", came(setgroups(0, NULL)));
  say("setgid(0): %s\n", came(setgid(0)));
  say("setregid(-1,77): %s\n", came(setregid(KEEP, 77)));
  who("after");
}

static void file_user(void) {
  say("setfsuid(12): %d\n", setfsuid(12));
  say("setfsgid(13): %d\n", setfsgid(13));
  who("after");
  say("file: %s\n", came(file("made", 0644)));
  say("chown: %s\n", came(chown("made", 1, 1)));
  setfsuid(0);
  setfsgid(0);
  mode_of("made", "made");
  become(50);
  say("setfsuid(0): %d\n", setfsuid(0));
  who("after");
}

static void kept(void) {
  say("KEEPCAPS: %s\n", came(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)));
  say("KEEPCAPS 2: %s\n", came(prctl(PR_SET_KEEPCAPS, 2, 0, 0, 0)));
  setresuid(5, 5, 5);
  who("kept");
  say("capset: %s\n", came(set_capabilities(1 << CAP_CHOWN, 1 << CAP_CHOWN | 1 << CAP_SETUID, 0)));
  who("after");
  say("more: %s\n", came(set_capabilities(1 << CAP_SETGID, 1 << CAP_SETGID, 0)));
  say("setuid(0): %s\n", came(setuid(0)));
  set_capabilities(1 << CAP_SETUID, 1 << CAP_SETUID, 0);
  say("setuid(0): %s\n", came(setuid(0)));
  who("after");
}

static void secure_bits(void) {
  say("get: %s\n", came(prctl(PR_GET_SECUREBITS, 0, 0, 0, 0)));
  say("set: %s\n", came(prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0)));
  setresuid(3, 3, 3);
  who("no fixup");
}

static void sets_of_capabilities(void) {
  say("inherit: %s\n", came(set_capabilities(DEFAULT_CAPABILITIES, DEFAULT_CAPABILITIES, 1 << CAP_CHOWN)));
  say("raise: %s\n", came(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_CHOWN, 0, 0)));
  say("raise other: %s\n", came(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SETUID, 0, 0)));
  say("is set: %s\n", came(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_CHOWN, 0, 0)));
  say("bounding: %s %s %s\n", came(prctl(PR_CAPBSET_READ, CAP_CHOWN, 0, 0, 0)),
      came(prctl(PR_CAPBSET_READ, CAP_SYS_ADMIN, 0, 0, 0)), came(prctl(PR_CAPBSET_READ, 99, 0, 0, 0)));
  say("drop: %s\n", came(prctl(PR_CAPBSET_DROP, CAP_KILL, 0, 0, 0)));
  say("widen: %s\n", came(set_capabilities(0, 1ULL << CAP_SYS_ADMIN, 0)));
  struct __user_cap_header_struct header = {1, 0};
  say("version: %s %x\n", came(syscall(SYS_capget, &header, NULL)), header.version);
  setresuid(4, 4, 4);
  who("after");
}

static void executed(const char *path, const char *name) {
  pid_t child = fork();
  if (child == 0) {
    execl(path, path, "who", name, NULL);
    say("%s: exec %s\n", name, came(-1));
    exit(0);
  }
  waitpid(child, NULL, 0);
}

static void execution(void) {
  copy_self("plain");
  copy_self("user");
  copy_self("group");
  copy_self("root");
  chown("user", 61, 62);
  chmod("user", 04755);
  chown("group", 61, 62);
  chmod("group", 02755);
  chmod("root", 04755);
  executed("./plain", "root plain");
  executed("./user", "root user");
  executed("./group", "root group");
  pid_t child = fork();
  if (child == 0) {
    set_capabilities(1 << CAP_CHOWN, 1 << CAP_CHOWN, 0);
    executed("./plain", "dropped capabilities");
    prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0);
    exit(0);
  }
  waitpid(child, NULL, 0);
  child = fork();
  if (child == 0) {
    seteuid(40);
    executed("./plain", "effective");
    executed("./root", "effective root");
    exit(0);
  }
  waitpid(child, NULL, 0);
  child = fork();
  if (child == 0) {
    prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0);
    setresuid(40, 40, 40);
    executed("./plain", "kept over exec");
    exit(0);
  }
  waitpid(child, NULL, 0);
  become(40);
  executed("./plain", "user plain");
  executed("./user", "user user");
  executed("./group", "user group");
  executed("./root", "user root");
}

static void owners(void) {
  file("a", 06755);
  say("chown: %s\n", came(chown("a", 5, 6)));
  mode_of("set-ids are gone", "a");
  chmod("a", 02644);
  chown("a", 7, KEEP);
  mode_of("mandatory lock bit", "a");
  symlink("a", "link");
  say("lchown: %s\n", came(lchown("link", 8, 9)));
  mode_of("link", "link");
  mode_of("its target", "a");
  say("fchownat nofollow: %s\n", came(fchownat(AT_FDCWD, "link", 10, 11, AT_SYMLINK_NOFOLLOW)));
  mode_of("link", "link");
  int fd = open("a", O_PATH);
  say("empty path: %s\n", came(fchownat(fd, "", 12, 13, AT_EMPTY_PATH)));
  say("empty path without flag: %s\n", came(fchownat(fd, "", 12, 13, 0)));
  say("fchown of O_PATH: %s\n", came(fchown(fd, 1, 1)));
  say("bad flag: %s\n", came(fchownat(fd, "", 12, 13, 0x8000)));
  mode_of("by descriptor", "a");
  say("missing: %s\n", came(chown("missing", 1, 1)));
  say("below a file: %s\n", came(chown("a/b", 1, 1)));
  say("bad pointer: %s\n", came(chown((char *)8, 1, 1)));
  say("bad descriptor: %s\n", came(fchown(99, 1, 1)));
  char longer[5000];
  memset(longer, 'x', sizeof longer);
  longer[4999] = 0;
  say("too long: %s\n", came(chown(longer, 1, 1)));
}

static void modes(void) {
  file("a", 0);
  mode_of("closed", "a");
  int fd = open("a", O_RDWR);
  say("root opens: %d\n", fd >= 0);
  say("fchmod: %s\n", came(fchmod(fd, 07777)));
  mode_of("all bits", "a");
  symlink("a", "link");
  say("fchmodat2 nofollow: %s\n", came(syscall(452, AT_FDCWD, "link", 0600, AT_SYMLINK_NOFOLLOW)));
  say("fchmodat2: %s\n", came(syscall(452, AT_FDCWD, "link", 0640, 0)));
  int path = open("a", O_PATH);
  say("fchmodat2 empty: %s\n", came(syscall(452, path, "", 0604, AT_EMPTY_PATH)));
  say("fchmodat2 bad flag: %s\n", came(syscall(452, path, "", 0604, 0x8000)));
  say("fchmod of O_PATH: %s\n", came(fchmod(path, 0600)));
  mode_of("after", "a");
  mkdir("d", 0);
  mode_of("directory", "d");
  say("below: %s\n", came(file("d/x", 0600)));
  chown("a", 5, 6);
  become(5);
  say("owner: %s\n", came(chmod("a", 02755)));
  mode_of("group of another", "a");
  say("chgrp: %s\n", came(chown("a", KEEP, 9)));
  say("give away: %s\n", came(chown("a", 9, KEEP)));
  say("to itself: %s\n", came(chown("a", 5, 5)));
  mode_of("own group", "a");
  say("of another: %s\n", came(chmod("d", 0777)));
}

static void creation(void) {
  umask(027);
  int fd = open("f", O_CREAT | O_RDWR, 0666);
  close(fd);
  mode_of("umask", "f");
  open("set", O_CREAT | O_RDWR, 06777);
  mode_of("set-ids at creation", "set");
  umask(0);
  mkdir("shared", 0777);
  chown("shared", 20, 30);
  chmod("shared", 02777);
  mkdir("sticky", 01777);
  mkdir("plain", 0777);
  become(40);
  file("shared/f", 0644);
  mkdir("shared/d", 0700);
  symlink("f", "shared/l");
  mkfifo("shared/p", 0600);
  mode_of("setgid", "shared/f");
  mode_of("setgid", "shared/d");
  mode_of("setgid", "shared/l");
  mode_of("setgid", "shared/p");
  mkdir("plain/d", 06755);
  mode_of("mkdir with set-ids", "plain/d");
  mkdir("plain/s", 01777);
  mode_of("mkdir sticky", "plain/s");
  open("plain/x", O_CREAT | O_RDWR, 02777);
  mode_of("open with setgid", "plain/x");
  open("shared/x", O_CREAT | O_RDWR, 02777);
  mode_of("open with a foreign setgid", "shared/x");
  fd = open("plain", O_TMPFILE | O_RDWR, 0640);
  struct stat status;
  fstat(fd, &status);
  say("unnamed: %u:%u %o %lu\n", status.st_uid, status.st_gid, status.st_mode, (unsigned long)status.st_nlink);
  char name[64];
  snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
  say("name it: %s\n", came(linkat(AT_FDCWD, name, AT_FDCWD, "plain/named", AT_SYMLINK_FOLLOW)));
  mode_of("named", "plain/named");
  say("exclusive: %s\n", came(open("plain/named", O_CREAT | O_EXCL, 0600)));
  symlink("nowhere", "plain/dangling");
  say("through a dangling link: %d\n", open("plain/dangling", O_CREAT | O_RDWR, 0600) >= 0);
  mode_of("made there", "plain/nowhere");
  say("directory: %s\n", came(open("plain", O_CREAT | O_RDWR, 0600)));
}

static void nodes(void) {
  umask(022);
  say("device: %s\n", came(mknod("null", S_IFCHR | 0666, makedev(1, 3))));
  mode_of("device", "null");
  say("block: %s\n", came(mknod("disk", S_IFBLK | 0600, makedev(259, 70000))));
  mode_of("block", "disk");
  say("plain: %s\n", came(mknod("plain", 0644, 0)));
  mode_of("plain", "plain");
  say("directory: %s\n", came(mknod("d", S_IFDIR | 0755, 0)));
  say("link: %s\n", came(mknod("l", S_IFLNK | 0755, 0)));
  say("twice: %s\n", came(mknod("null", S_IFCHR | 0666, makedev(1, 3))));
  say("chmod: %s\n", came(chmod("null", 0600)));
  say("chown: %s\n", came(chown("null", 5, 6)));
  mode_of("device", "null");
  struct statx status;
  statx(AT_FDCWD, "disk", AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &status);
  say("statx: %o %u:%u\n", status.stx_mode, status.stx_rdev_major, status.stx_rdev_minor);
  mkfifo("closed", 0111);
  mode_of("pipe", "closed");
  chmod("closed", 0);
  mode_of("pipe", "closed");
  chmod("closed", 01644);
  mode_of("pipe", "closed");
  int bound = socket(AF_UNIX, SOCK_STREAM, 0);
  struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "socket"};
  bind(bound, (struct sockaddr *)&address, sizeof address);
  chmod("socket", 0222);
  mode_of("socket", "socket");
  chown("socket", 3, 4);
  mode_of("socket", "socket");
  say("rename: %s\n", came(rename("null", "zero")));
  mode_of("renamed", "zero");
  mkdir("open", 0777);
  chmod("open", 0777);
  become(5);
  say("as user: %s\n", came(mknod("open/null", S_IFCHR | 0666, makedev(1, 3))));
  say("pipe as user: %s\n", came(mknod("open/pipe", S_IFIFO | 0666, 0)));
  mode_of("pipe", "open/pipe");
}

static void names(void) {
  file("a", 0644);
  file("b", 0600);
  chown("a", 1, 2);
  chown("b", 3, 4);
  say("link: %s\n", came(link("a", "c")));
  chown("c", 5, 6);
  mode_of("hard link", "a");
  say("exchange: %s\n", came(renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_EXCHANGE)));
  mode_of("exchanged", "a");
  mode_of("exchanged", "b");
  say("no replace: %s\n", came(renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_NOREPLACE)));
  rename("a", "b");
  mode_of("replaced", "b");
  unlink("b");
  file("b", 0644);
  mode_of("made again", "b");
  symlink("x", "l");
  lchown("l", 9, 9);
  unlink("l");
  symlink("x", "l");
  mode_of("link made again", "l");
}

// As long as a path may be: 4,095 bytes, from here.
static void longest(void) {
  char path[4200] = "";
  long made = 0;
  while (strlen(path) < 4000 && made == 0) {
    memset(path + strlen(path), 'd', 199);
    made = mkdir(path, 0755);
    strcat(path, "/");
  }
  size_t length = strlen(path);
  memset(path + length, 'f', 4095 - length);
  say("made: %s %zu\n", came(made), strlen(path));
  say("file: %s\n", came(file(path, 0600)));
  say("chown: %s\n", came(chown(path, 5, 6)));
  say("chmod: %s\n", came(chmod(path, 04755)));
  struct stat status;
  say("stat: %s", came(stat(path, &status)));
  say(" %u:%u %o\n", status.st_uid, status.st_gid, status.st_mode);
  path[length + 3] = 0;
  say("device: %s\n", came(mknod(path, S_IFCHR | 0600, makedev(1, 3))));
  memset(path + length, 'f', 4097 - length);
  say("longer: %s\n", came(chown(path, 5, 6)));
}

static void sets_and_attributes(void) {
  file("a", 0755);
  unsigned char value[20] = {1, 0, 0, 2, 1};
  char found[64];
  say("setcap: %s\n", came(setxattr("a", "security.capability", value, 20, 0)));
  say("get: %s\n", came(getxattr("a", "security.capability", found, 64)));
  say("size: %s\n", came(getxattr("a", "security.capability", NULL, 0)));
  say("too small: %s\n", came(getxattr("a", "security.capability", found, 3)));
  say("create: %s\n", came(setxattr("a", "security.capability", value, 20, XATTR_CREATE)));
  say("list: %s %s\n", came(listxattr("a", found, 64)), found);
  say("malformed: %s\n", came(setxattr("a", "security.capability", "x", 1, 0)));
  say("remove: %s\n", came(removexattr("a", "security.capability")));
  say("again: %s\n", came(removexattr("a", "security.capability")));
  say("replace: %s\n", came(setxattr("a", "security.capability", value, 20, XATTR_REPLACE)));
  say("user: %s\n", came(setxattr("a", "user.x", "1", 1, 0)));
  setxattr("a", "security.capability", value, 20, 0);
  int fd = open("a", O_WRONLY);
  write(fd, "x", 1);
  say("after a write: %s\n", came(getxattr("a", "security.capability", NULL, 0)));
  become(9);
  say("as user: %s\n", came(setxattr("a", "security.capability", value, 20, 0)));
}

static void limits(void) {
  struct rlimit limit;
  say("get: %s", came(getrlimit(RLIMIT_RTTIME, &limit)));
  say(" %d %d\n", limit.rlim_cur == RLIM_INFINITY, limit.rlim_max == RLIM_INFINITY);
  become(5);
  who("still");
}

static void *thread_body(void *unused) {
  (void)unused;
  who("thread");
  // The raw call changes one thread alone.
  say("raw setuid: %s\n", came(syscall(SYS_setresuid, 5, 5, 5)));
  who("thread");
  return NULL;
}

static void threads(void) {
  pthread_t thread;
  pthread_create(&thread, NULL, thread_body, NULL);
  pthread_join(thread, NULL);
  setgid(3);
  pthread_create(&thread, NULL, thread_body, NULL);
  pthread_join(thread, NULL);
}

static void vforked(void) {
  setresgid(6, 6, 6);
  pid_t child = vfork();
  if (child == 0) {
    execl(self, self, "who", "vforked", NULL);
    _exit(1);
  }
  waitpid(child, NULL, 0);
}

static void status_file(void) {
  gid_t wanted[] = {21, 22};
  setgroups(2, wanted);
  setresgid(4, 5, 6);
  setresuid(7, 8, 9);
  FILE *status = fopen("/proc/self/status", "r");
  char line[512];
  while (fgets(line, sizeof line, status))
    if (!strncmp(line, "Uid:", 4) || !strncmp(line, "Gid:", 4))
      say("%s", line);
}

static void peers(void) {
  int pair[2];
  setresgid(33, 33, 33);
  setresuid(KEEP, 34, KEEP);
  socketpair(AF_UNIX, SOCK_DGRAM, 0, pair);
  struct ucred found = {0};
  socklen_t length = sizeof found;
  say("peer: %s", came(getsockopt(pair[0], SOL_SOCKET, SO_PEERCRED, &found, &length)));
  say(" %d %u %u\n", found.pid == getpid(), found.uid, found.gid);
  int on = 1;
  setsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
  send(pair[0], "x", 1, 0);
  char byte, control[CMSG_SPACE(sizeof(struct ucred))];
  struct iovec vector = {&byte, 1};
  struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  recvmsg(pair[1], &message, 0);
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  struct ucred *sender = header ? (struct ucred *)CMSG_DATA(header) : NULL;
  if (sender) say("sender: %d %u %u\n", sender->pid == getpid(), sender->uid, sender->gid);
}

static void permissions(void) {
  file("secret", 0600);
  mkdir("closed", 0700);
  file("closed/f", 0644);
  mkdir("tmp", 01777);
  chmod("tmp", 01777);
  file("tmp/theirs", 0666);
  file("open", 0644);
  file("closed/mine", 0666);
  chown("closed/mine", 70, 70);
  file("program", 06777);
  file("locked", 02666);
  become(70);
  say("chmod on the way: %s\n", came(chmod("closed/mine", 0600)));
  say("chown on the way: %s\n", came(chown("closed/mine", 70, 70)));
  write(open("program", O_WRONLY), "x", 1);
  mode_of("written by another", "program");
  write(open("locked", O_RDWR), "x", 1);
  mode_of("written by another", "locked");
  say("read: %s\n", opened(open("secret", O_RDONLY)));
  say("way: %s\n", opened(open("closed/f", O_RDONLY)));
  say("stat: %s\n", came(access("closed/f", F_OK)));
  say("list: %s\n", opened(open("closed", O_RDONLY | O_DIRECTORY)));
  say("write: %s\n", opened(open("open", O_WRONLY)));
  say("new: %s\n", opened(open("new", O_CREAT | O_WRONLY, 0644)));
  say("mkdir: %s\n", came(mkdir("fresh", 0755)));
  say("mkdir of what is there: %s\n", came(mkdir("open", 0755)));
  say("mkdir of the root: %s\n", came(mkdir("/", 0755)));
  say("open what is there: %s\n", opened(open("open", O_CREAT | O_RDONLY, 0644)));
  say("link over what is there: %s\n", came(symlink("x", "open")));
  say("unlink: %s\n", came(unlink("open")));
  say("sticky: %s\n", came(unlink("tmp/theirs")));
  say("sticky rename: %s\n", came(rename("tmp/theirs", "tmp/mine")));
  say("rename: %s\n", came(rename("open", "tmp/open")));
  say("rename of what is not there: %s\n", came(rename("nothing", "tmp/nothing")));
  say("unlink of what is not there: %s\n", came(unlink("nothing")));
  say("rmdir: %s\n", came(rmdir("closed")));
  file("tmp/own", 0600);
  say("link: %s\n", came(link("tmp/own", "other")));
  say("link on the way: %s\n", came(link("closed/f", "tmp/f")));
  say("truncate: %s\n", came(truncate("open", 1)));
  say("own mkdir: %s\n", came(mkdir("tmp/d", 0700)));
  say("own rename: %s\n", came(rename("tmp/d", "tmp/e")));
  say("own rmdir: %s\n", came(rmdir("tmp/e")));
  say("own link: %s\n", came(link("tmp/own", "tmp/other")));
  say("own unlink: %s\n", came(unlink("tmp/own")));
  say("chdir: %s\n", came(chdir("closed")));
  say("access: %s\n", came(access("secret", R_OK)));
}

static const struct {
  const char *name;
  void (*body)(void);
} CHECKS[] = {
    {"first", first}, {"users", users}, {"groups", groups}, {"file_user", file_user}, {"kept", kept},
    {"secure_bits", secure_bits}, {"sets_of_capabilities", sets_of_capabilities}, {"execution", execution},
    {"owners", owners}, {"modes", modes}, {"creation", creation}, {"nodes", nodes}, {"names", names}, {"longest", longest},
    {"sets_and_attributes", sets_and_attributes}, {"limits", limits}, {"threads", threads}, {"vforked", vforked},
    {"status_file", status_file}, {"peers", peers}, {"permissions", permissions},
};

int main(int count, char **arguments) {
  if (count > 2 && !strcmp(arguments[1], "who")) {
    who(arguments[2]);
    return 0;
  }
  readlink("/proc/self/exe", self, sizeof self - 1);
  // A real root of the machine has more than a container's.
  for (int number = 0; number < 64; number++)
    if (!(DEFAULT_CAPABILITIES >> number & 1)) prctl(PR_CAPBSET_DROP, number, 0, 0, 0);
  setgroups(0, NULL);
  set_capabilities(DEFAULT_CAPABILITIES, DEFAULT_CAPABILITIES, 0);
  umask(022);
  for (size_t number = 0; number < sizeof CHECKS / sizeof *CHECKS; number++) {
    if (count > 1 && strcmp(arguments[1], CHECKS[number].name)) continue;
    say("# %s\n", CHECKS[number].name);
    check(CHECKS[number].name, CHECKS[number].body);
  }
  return 0;
}
