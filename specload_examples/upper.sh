#!/bin/sh
# An Elektra plugin in plain POSIX sh: no text below the mountpoint may hold a small letter from a to z.
#
#   kdb mount codes.ecf user:/codes dump stdioproc app=/…/upper.sh
#   kdb set user:/codes/country AT     # stored
#   kdb set user:/codes/country at     # refused: C03200
#
# It needs dd and od for binary values, and else nothing but the shell. It speaks both wordings of the protocol, that of the INIT
# line, and hands keysets back as they came, byte for byte.

# Lengths count bytes, and a small letter is one of 26, wherever this runs. The environment may be empty.
LC_ALL=C
PATH=${PATH:-/usr/bin:/bin}
export LC_ALL PATH
set -f # words such as * are words

newline='
'

fail () { # the host broke the protocol, or sent what a shell cannot hold
	printf 'upper: %s\n' "$1" >&2
	exit 76
}

# ---- keysets
# A shell's read takes single bytes from a pipe, so nothing is taken that belongs to what follows. What is read is kept in the
# form that `printf %b` turns into the same bytes again: a shell's variable cannot hold a NUL byte, that form can.

# $text = a payload of $1 bytes; the line feed behind it is read too.
read_text () {
	IFS= read -r text || fail "the input ends inside a payload of $1 bytes"
	while [ "${#text}" -lt "$1" ]; do # it holds line feeds
		IFS= read -r more || fail "the input ends inside a payload of $1 bytes, or it holds a NUL byte"
		text=$text$newline$more
	done
	[ "${#text}" -eq "$1" ] || fail "a payload is longer than its $1 bytes"
}

# $copy += $1 and a line feed
copy_text () {
	rest=$1
	while :; do
		case $rest in
		*\\*)
			copy=$copy${rest%%\\*}'\\'
			rest=${rest#*\\}
			;;
		*) break ;;
		esac
	done
	copy=$copy$rest$newline
}

# $copy += a binary payload of $1 bytes and the line feed behind it
copy_binary () {
	if [ "$1" -gt 0 ]; then
		count=0
		for octal in $(dd bs=1 count="$1" 2>/dev/null | od -An -v -to1); do
			copy=$copy'\0'$octal
			count=$((count + 1))
		done
		[ "$count" -eq "$1" ] || fail "the input ends inside a payload of $1 bytes"
	fi
	IFS= read -r more || fail "the input ends behind a payload of $1 bytes"
	[ -z "$more" ] || fail "a payload is longer than its $1 bytes"
	copy=$copy$newline
}

is_length () {
	case $1 in
	'' | *[!0-9]*) fail "a length is digits, not '$1'" ;;
	esac
}

# Read a keyset. $copy = all of it but its last line; $name and $value = those of its last key; $refused = the name of the first
# key whose text holds a small letter, $offending = that text.
read_keyset () {
	copy='' name='' value='' refused='' offending=''
	IFS= read -r line || fail "the input ends where a keyset begins"
	[ "$line" = 'kdbOpen 2' ] || fail "a keyset begins with 'kdbOpen 2', not '$line'"
	copy_text "$line"
	while IFS= read -r line; do
		# shellcheck disable=SC2086
		set -- $line
		case $line in
		'$end') return ;;
		'$key string '* | '$key binary '*)
			is_length "$3"
			is_length "$4"
			copy_text "$line"
			read_text "$3"
			copy_text "$text"
			name=$text
			if [ "$2" = binary ]; then
				value=''
				copy_binary "$4"
				continue
			fi
			read_text "$4"
			copy_text "$text"
			value=$text
			case $value in
			*[abcdefghijklmnopqrstuvwxyz]*)
				if [ -z "$refused" ]; then
					refused=$name offending=$value
				fi
				;;
			esac
			;;
		'$meta '* | '$copymeta '*)
			is_length "$2"
			is_length "$3"
			copy_text "$line"
			read_text "$2"
			copy_text "$text"
			read_text "$3"
			copy_text "$text"
			;;
		*) fail "a keyset has no line '$line'" ;;
		esac
	done
	fail "the input ends inside a keyset"
}

# $parent += metadata $1 with the content $2
add_meta () {
	copy=$parent
	copy_text "\$meta ${#1} ${#2}"
	copy_text "$1"
	copy_text "$2"
	parent=$copy
}

# ---- the contract

write_key () {
	printf '$key string %d %d\n%s\n%s\n' "${#1}" "${#2}" "$1" "$2"
}

write_contract () { # $1 = the wording in small letters
	root=system:/elektra/modules/$1
	printf 'kdbOpen 2\n'
	write_key "$root/infos" 'upper'
	write_key "$root/infos/author" 'The stdioproc developers <stdioproc@example.org>'
	write_key "$root/infos/description" 'refuses text with small letters'
	write_key "$root/infos/licence" 'BSD'
	write_key "$root/infos/placements" 'presetstorage'
	write_key "$root/infos/provides" 'check'
	write_key "$root/infos/status" 'maintained unittest'
	write_key "$root/infos/version" '1'
	write_key "$root/exports/set" 1
	write_key "$root/exports/has/set" 1
	printf '$end\n'
}

# ---- the dialogue

IFS= read -r line || exit 0
case $line in
'ELEKTRA_STDIOPROC INIT v1') word=ELEKTRA_STDIOPROC wording=stdioproc ;;
'ELEKTRA_PROCESS INIT v1') word=ELEKTRA_PROCESS wording=process ;;
*) fail "expected an INIT line, not '$line'" ;;
esac
printf '%s ACK v1\nupper\n' "$word"
write_contract "$wording"

while IFS= read -r line; do
	case $line in
	set)
		read_keyset
		parent=$copy mountpoint=$name configfile=$value
		read_keyset
		data=$copy
		result=success
		if [ -n "$refused" ]; then
			result=error
			add_meta error 'number description  module file line mountpoint configfile reason'
			add_meta error/number C03200
			add_meta error/description 'Validation Semantic'
			add_meta error/module upper
			add_meta error/file "$0"
			add_meta error/line 0
			add_meta error/mountpoint "$mountpoint"
			add_meta error/configfile "$configfile"
			add_meta error/reason "$refused must not hold small letters, but is '$offending'; write it in capital letters"
		fi
		printf '%s\n%b$end\n%b$end\n' "$result" "$parent" "$data"
		;;
	"$word TERMINATE") exit 0 ;;
	*) fail "only 'set' is announced, the host sent '$line'" ;;
	esac
done
