#include <stdio.h>

#include "greeting.h"

int main(void)
{
	return printf("one: %s\n", greeting()) < 0;
}
