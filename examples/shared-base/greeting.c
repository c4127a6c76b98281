#include "greeting.h"

const char *greeting(void)
{
	return "built on the shared base";
}
