#include <stdio.h>

#include "greeting.h"

int main(void)
{
	return printf("two: %s\n", greeting()) < 0;
}
