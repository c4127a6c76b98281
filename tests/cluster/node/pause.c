/* Does nothing, well: holds the namespaces of a pod (or of the node itself) and reaps what is reparented to it. */
#include <signal.h>
#include <stddef.h>
#include <sys/wait.h>
#include <unistd.h>

static void leave(int signal_number) {
	(void)signal_number;
	_exit(0);
}

int main(void) {
	sigset_t children;
	struct sigaction action = {.sa_handler = leave};
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	sigemptyset(&children);
	sigaddset(&children, SIGCHLD);
	sigprocmask(SIG_BLOCK, &children, NULL);
	for (;;) {
		int signal_number;
		sigwait(&children, &signal_number);
		while (waitpid(-1, NULL, WNOHANG) > 0) {
		}
	}
}
