#!/bin/sh
# Runs inside the new root file system, after the packages: what makes it a node of the lab.
set -eu

# The disk's device has another name in User-Mode Linux.
echo "LABEL=gantry-root / ext4 errors=remount-ro 0 1" > /etc/fstab
echo localhost > /etc/hostname
echo LANG=C.UTF-8 > /etc/default/locale
# systemd fills it in at boot, with the number that the lab gives each node.
: > /etc/machine-id
rm -f /etc/resolv.conf /etc/ssh/ssh_host_*_key /etc/ssh/ssh_host_*_key.pub /etc/apt/apt.conf.d/99mmdebstrap \
    /etc/dpkg/dpkg.cfg.d/99mmdebstrap
: > /etc/resolv.conf
# Keys only; the key comes with the node's configuration disk.
passwd -l root >/dev/null

systemctl -q enable gantry-lab-config.service gantry-lab-disk.service gantry-lab-python.service systemd-networkd.service ssh.service
# libvirtd goes when nobody has asked it anything for two minutes. Here it takes long to come again: half a minute under Xen.
echo LIBVIRTD_ARGS= >> /etc/default/libvirtd
# drbd-utils makes an /etc/xen as well.
if [ -n "$(ls /boot/xen-*.gz 2>/dev/null)" ]; then
    # The console of every guest is kept, in /var/log/xen/console/guest-NAME.log.
    mkdir -p /var/log/xen/console
    echo 'XENCONSOLED_ARGS="--log=guest"' > /etc/default/xen
    # Xen hides two features of the nodes' emulated CPU. libvirt knows no CPU without them, and its driver does not start with none.
    cpus=/usr/share/libvirt/cpu_map
    {
        echo "<cpus><model name='gantry-lab'><decode host='on' guest='off'/>"
        for feature in fpu de pse tsc msr pae mce cx8 apic mtrr pge mca cmov pat pse36 clflush mmx fxsr sse sse2 pni cx16 syscall nx lm; do
            echo "<feature name='$feature'/>"
        done
        echo "</model></cpus>"
    } > "$cpus/x86_gantry-lab.xml"
    sed -i "s#.*['\"]x86_486.xml['\"].*#&<include filename='x86_gantry-lab.xml'/>#" "$cpus/index.xml"
    grep -q gantry-lab "$cpus/index.xml"
fi
if [ -e /usr/lib/x86_64-linux-gnu/libvirt/connection-driver/libvirt_driver_lxc.so ]; then
    systemctl -q enable gantry-lab-consoles.path
fi
# User-Mode Linux looks for its modules where every other kernel does.
for modules in /usr/lib/uml/modules/*; do
    [ -d "$modules" ] || continue
    ln -s "$modules" "/lib/modules/${modules##*/}"
    depmod "${modules##*/}"
done
# DRBD is brought up by the cluster, resource by resource, never by the node at boot.
systemctl -q disable drbd.service
# A switch costs an emulated node seconds at boot; who needs it starts it.
systemctl -q disable openvswitch-switch.service
# No mirror is in reach of a node, and on an emulated CPU these timers cost minutes.
# Nor does anybody use a systemd of their own there, which would start anew with nearly every login.
systemctl -q mask user@.service apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer e2scrub_reap.service \
    dpkg-db-backup.timer fstrim.timer logrotate.timer systemd-tmpfiles-clean.timer \
    systemd-networkd-wait-online.service systemd-binfmt.service getty@tty1.service modprobe@drm.service \
    modprobe@efi_pstore.service
# A session of logind's for each login costs more than the login.
sed -i '/pam_systemd/d' /etc/pam.d/common-session

rm -rf /var/lib/apt/lists/* /var/cache/apt/* /usr/share/doc/* /usr/share/man/* /usr/share/locale/*
