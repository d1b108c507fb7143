#!/bin/sh
# Makes the root of a base image from Debian packages: Python, certificates, time zones; no shell, no package manager.
# usage: debian.sh OUT.tar [more packages]      In production, use your registry's image by digest instead (--base).
set -eu
out=$1
shift
packages="python3-minimal,libpython3-stdlib,ca-certificates,base-files,netbase,tzdata,media-types,libstdc++6,libgcc-s1"
for package in "$@"; do packages="$packages,$package"; done
export SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-0}" # the same packages give the same bytes
exec mmdebstrap --quiet --variant=extract --include="$packages" \
  --extract-hook='cat "$1"/usr/share/ca-certificates/mozilla/*.crt > "$1"/etc/ssl/certs/ca-certificates.crt' \
  --extract-hook='ln -s python3 "$1"/usr/bin/python' \
  --extract-hook='printf "root:x:0:0:root:/root:/sbin/nologin\nlockgate:x:65532:65532::/tmp:/sbin/nologin\n" > "$1"/etc/passwd' \
  --extract-hook='printf "root:x:0:\nlockgate:x:65532:\n" > "$1"/etc/group' \
  --extract-hook='find "$1"/bin "$1"/sbin "$1"/usr/bin "$1"/usr/sbin -not -type d -not -name "python*" -delete' \
  --extract-hook='rm -rf "$1"/usr/share/doc "$1"/usr/share/man "$1"/usr/share/locale "$1"/usr/share/perl* "$1"/usr/lib/*/perl* "$1"/usr/share/ca-certificates "$1"/usr/share/debconf "$1"/usr/share/lintian "$1"/usr/share/bash-completion "$1"/var/cache "$1"/var/log "$1"/var/lib/dpkg/info "$1"/usr/share/bug "$1"/usr/share/python3 "$1"/usr/libexec/dpkg "$1"/usr/lib/ssl/misc "$1"/etc/cron.daily "$1"/etc/update-motd.d "$1"/etc/resolv.conf "$1"/etc/hostname' \
  bookworm "$out"
