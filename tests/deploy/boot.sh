#!/bin/bash
# Boots systemd as the first process of namespaces of its own, on an overlay of this machine's files
# and with none of its units. Called under unshare.
set -euo pipefail
project=$1 python=$2 packages=$3 work=$4 ready=$5

mount --make-rprivate /
mount -t tmpfs tmpfs "$work"
mkdir "$work"/{changes,overlay,root}
mount -t overlay overlay -o "lowerdir=/,upperdir=$work/changes,workdir=$work/overlay" "$work/root"
cd "$work/root"

mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs tmpfs dev
mkdir dev/{pts,shm,mqueue,hugepages}
for device in null zero full random urandom tty; do
  touch "dev/$device"
  mount --bind "/dev/$device" "dev/$device"
done
mount -t devpts devpts dev/pts
mount -t tmpfs tmpfs dev/shm
mount -t mqueue mqueue dev/mqueue
ln -s pts/ptmx dev/ptmx
mkdir units
cp usr/lib/systemd/system/dbus.{service,socket} units
for directory in run tmp usr/lib/systemd/system usr/lib/systemd/system-generators etc/systemd/system; do
  mount -t tmpfs tmpfs "$directory"
done
touch run/ready
mount --bind "$ready" run/ready
ip link set lo up

units=etc/systemd/system
for target in sysinit basic shutdown network-online sockets timers multi-user; do
  printf '[Unit]\nDefaultDependencies=no\n' >"$units/$target.target"
done
mv units/* "$units"
printf '[Unit]\nRequires=dbus.socket\nAfter=dbus.socket\n[Service]\nExecStart=/bin/sh -c "echo >/run/ready"\n' \
  >"$units/ready.service"
mkdir "$units/abcd2bioschema.service.d"
printf '[Service]\nStandardOutput=append:/var/log/abcd2bioschema\nStandardError=inherit\n' \
  >"$units/abcd2bioschema.service.d/log.conf"

# All three may lie in a home directory, which the unit does not see.
mkdir -p opt/{python,packages,project}
mount --bind "$python" opt/python
mount --bind "$packages" opt/packages
mount --bind "$project" opt/project
echo /opt/python/lib >etc/ld.so.conf.d/python.conf
ldconfig -r .

mkdir -p mnt
pivot_root . mnt
umount -l /mnt
mount --make-rshared /
export container=test
exec /lib/systemd/systemd --system --unit=ready.service --show-status=0
