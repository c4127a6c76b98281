module stagecraft.dev/tests/cluster/packages

go 1.26
