#!/bin/sh
# A child that breaks the rules in the way that its first argument says. Needs no Python and no environment.
contract () {
	printf 'ELEKTRA_STDIOPROC ACK v1\nbroken\nkdbOpen 2\n'
	for op in get set; do
		printf '$key string 45 1\nsystem:/elektra/modules/stdioproc/exports/%s\n1\n' "$op"
	done
	printf '$key string 50 13\nsystem:/elektra/modules/stdioproc/infos/placements\npresetstorage\n$end\n'
}

read -r line || exit 0
case "$1" in
silent) while read -r line; do :; done ;;
deaf) trap '' TERM; contract; while :; do sleep 1; done ;;
babbling) while :; do echo "I do not know when to stop"; done ;;
dies) exit 7 ;;
killed) kill -9 $$ ;;
lying) contract; read -r line; printf 'success\nkdbOpen 2\n$key string 99999999 1\nx\n'; while read -r line; do :; done ;;
half) contract; read -r line; printf 'success\nkdbOpen 2\n$key stri'; exit 0 ;;
words) contract; read -r line; printf 'perhaps\n'; while read -r line; do :; done ;;
noplacements) printf 'ELEKTRA_STDIOPROC ACK v1\nbroken\nkdbOpen 2\n$end\n'; while read -r line; do :; done ;;
nonsense)
	printf 'ELEKTRA_STDIOPROC ACK v1\nbroken\nkdbOpen 2\n'
	printf '$key string 50 4\nsystem:/elektra/modules/stdioproc/infos/placements\nmoon\n$end\n'
	while read -r line; do :; done
	;;
esac
