#!/bin/busybox sh
# Process 1 of a guest: loads the modules, takes the cluster's chamber as its root, and hands over to the agent.
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
$b mount -t devtmpfs devtmpfs /dev
for module in /modules/*; do $b insmod $module; done
for word in $($b cat /proc/cmdline); do case $word in qa.*) eval ${word#qa.} ;; esac; done
$b ip link set lo up
$b ip address add $address dev eth0
$b ip link set eth0 up
$b mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=262144 chamber /root
$b mount --bind /dev /root/dev
$b mount -t proc proc /root/proc
$b mount -t sysfs sysfs /root/sys
for folder in tmp run; do $b mount -t tmpfs tmpfs /root/$folder; done
cd /root
exec $b chroot /root /usr/bin/env -i PATH=$path PYTHONPATH=/src PYTHONDONTWRITEBYTECODE=1 LC_ALL=C.UTF-8 HOME=/tmp \
    python -m qa.kernel.agent
