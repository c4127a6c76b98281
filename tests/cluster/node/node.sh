#!/bin/sh
# Becomes the node of the test cluster: process 1 of fresh mount, pid, network, ipc and uts namespaces.
# Everything the cluster mounts, starts or configures lives in them and ends with this process; the host's /run, /var
# and network are hidden, so that another container runtime or cluster on the machine is neither seen nor touched.
#
# usage: node.sh CLUSTER PROGRAMS SUPPLIES    (three directories, visible below as /run/stagecraft/...)
set -eu
cluster=$1 programs=$2 supplies=$3

# The runtime directory is filled before it covers /run, and the binds are taken before /var is covered: the three
# directories may lie anywhere.
run=$cluster/run
mkdir -p "$run"
mount --no-mtab -t tmpfs -o mode=755 tmpfs "$run"
mkdir -p "$run/stagecraft/cluster" "$run/stagecraft/programs" "$run/stagecraft/supplies" "$run/lock"
mount --no-mtab --bind "$cluster" "$run/stagecraft/cluster"
mount --no-mtab --bind "$programs" "$run/stagecraft/programs"
mount --no-mtab --bind "$supplies" "$run/stagecraft/supplies"
mount --no-mtab --move "$run" /run
mkdir -p /run/stagecraft/cluster/var/lib /run/stagecraft/cluster/var/log /run/stagecraft/cluster/var/tmp
ln -sfn /run /run/stagecraft/cluster/var/run
mount --no-mtab --bind /run/stagecraft/cluster/var /var
mount --no-mtab --make-rshared /

hostname stagecraft-node
ip link set lo up
# An address of its own: without one, a bridge takes the lowest of its ports' and changes it as pods come and go, and
# everybody who knew the old one is cut off until it has forgotten it, half a minute later.
ip link add stagecraft0 address 02:73:74:61:67:65 type bridge
ip address add 10.200.0.1/24 dev stagecraft0
ip link set stagecraft0 up
echo 1 > /proc/sys/net/ipv4/ip_forward

# Says that the namespaces are ready; the caller then gives the bridge its link to the host.
touch /run/stagecraft/cluster/ready
exec /run/stagecraft/programs/pause
