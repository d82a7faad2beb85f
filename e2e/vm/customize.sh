#!/bin/sh
# Makes a Debian tree a machine that boots fast and is quiet. Nobody owns the interfaces yet: that is up to each scenario.
set -e
tree=$1

echo router > "$tree/etc/hostname"
printf '127.0.0.1 localhost router\n' > "$tree/etc/hosts"
printf '/dev/vda / ext4 defaults 0 1\n' > "$tree/etc/fstab"
mkdir -p "$tree/etc/network/interfaces.d"
printf 'auto lo\niface lo inet loopback\nsource /etc/network/interfaces.d/*\n' > "$tree/etc/network/interfaces"

# What has nothing to do with a router.
for unit in apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer dpkg-db-backup.timer \
	systemd-timesyncd.service systemd-pstore.service getty@tty1.service serial-getty@ttyS0.service man-db.timer logrotate.timer; do
	ln -sf /dev/null "$tree/etc/systemd/system/$unit"
done
for unit in NetworkManager.service NetworkManager-wait-online.service NetworkManager-dispatcher.service systemd-networkd.service \
	systemd-networkd-wait-online.service networking.service nftables.service; do
	chroot "$tree" systemctl disable "$unit" >/dev/null 2>&1 || true
done
# Nothing is to be updated at the first boot.
touch "$tree/etc/.updated" "$tree/var/.updated"
# The journal of a boot can be read after it.
mkdir -p "$tree/var/log/journal"
