; Copyright (c) 2026 The gantry.cluster team
; GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
; SPDX-License-Identifier: GPL-3.0-or-later
;
; The test guest of the lab: a disk that boots by itself and counts.
;
; It writes numbered, chained and checksummed records to its own disk, waits until the disk has
; acknowledged each of them, and only then says the number on its serial console (COM1). After a
; reset, a power cut, a failover or a migration it goes on from what the disk says. lab/guest/check.py
; reads the disk and the console afterwards and finds what went missing in between.
;
; 16-bit code that needs SeaBIOS (any firmware with INT 13h extensions), a disk of 1 MiB or more, COM1
; and ACPI (libvirt: <features><acpi/></features>). Machines: pc, q35 and Xen's HVM. Build: lab/guest/build.
;
; The disk, in sectors of 512 bytes, all numbers little endian
; ------------------------------------------------------------
;   LBA 0         boot sector                LBA 1..7    the rest of this program
;   LBA 8         superblock, written once by the first boot ("first boot" = this sector is all zero)
;   LBA 9..15     not used
;   LBA 16..      the ring: record number n lies at LBA 16 + (n - 1) mod ring. The ring is fixed by the
;                 first boot: all the disk, at most 16368 records. So everything lies in the first 8 MiB
;                 however large the disk is, and a disk that grows later keeps its ring.
;
;   superblock    0  8  magic "GNTRYSB1"
;                 8  4  disk id, random, never 0: tells this life of the disk from any earlier one
;                12  4  ring, in records
;                16  8  size of the disk at the first boot, in sectors
;                24  8  clock at the first boot, as in a record
;                32     zeros
;               508  4  CRC-32 (the one of zlib) of bytes 0..507
;
;   record        0  8  magic "GNTRYTK1"
;                 8  4  disk id             12  4  ring
;                16  8  number, from 1 (the upper half is 0)
;                24  4  boot: 1 for the first, one more for every boot that wrote a record
;                28  4  run: random for every boot; two runs in one boot number mean two histories
;                32  4  CRC-32 of the record before (of the superblock for number 1): the chain
;                36  4  kind: 1 = tick, 2 = the last one before an orderly power-off
;                40  4  tick: the BIOS counter at 0:046C (18.2 Hz; since midnight of the guest's clock)
;                44  4  LBA of this record: finds a write that went elsewhere
;                48  8  running clock: ACPI PM timer since boot, 3579545 Hz. Stands still while the
;                       machine is stopped. May lose whole 4.69 s when one disk write takes longer.
;                56  8  real-time clock, BCD: century year month day hour minute second 0. Goes on while
;                       the machine is stopped (with QEMU's default -rtc clock=host)
;                64  8  time stamp counter: makes two copies of one run differ from the first record on
;                72     filling: the 32-bit word at offset o is number XOR o
;               508  4  CRC-32 of bytes 0..507
;
; The console, 115200 8N1, lines end in CR LF
; -------------------------------------------
;   B boot=0003 run=89ABCDEF disk=01234567 sectors=00004000 ring=00003FF0 last=00000011 sum=0A1B2C3D line=89AB
;         booted; the last good record on the disk and its CRC (number 0: none, the superblock's CRC)
;   T 00000012 boot=0003 run=89ABCDEF tick=0011AABB running=000001234567 rtc=20260131235959 sum=DEADBEEF line=89AB
;         record 12 is acknowledged by the disk (numbers and boot: decimal; other values: hexadecimal).
;         line: a checksum of the text before " line=", for each byte: rotate 16 bits left by one, add the
;         byte. Lines that were cut and patched together by logs and migrations do not pass for real ones
;   E ...                                            something failed; it is tried again until it works
;   P power button                                   seen; a last record (kind 2) follows, then
;   G 00000013 goodbye                               orderly power-off after record 13
;
; Why these clocks: the outside sees a pause by the time at which console lines arrive (check.py
; stamp), to within the period of the records. From inside, "running" shows how long the guest did
; not get the processor or waited for its disk, and rtc shows (to a second) how long it was stopped.
;
; Acknowledged means durable: SeaBIOS does not negotiate a volatile write cache, so QEMU flushes
; after each write whatever cache mode the disk has.

%ifndef TICKS
%define TICKS 3                         ; timer ticks (54.9 ms) from one record to the next
%endif
%ifndef RING_LIMIT
%define RING_LIMIT 16368                ; records; with the 16 sectors in front that is 8 MiB
%endif

PROGRAM_SECTORS equ 8
SUPER_LBA       equ 8
RING_LBA        equ 16
SCAN_SECTORS    equ 64                  ; sectors read at once when looking for the last record

COM1            equ 0x3F8
PM_SEABIOS      equ 0x600               ; SeaBIOS puts the ACPI registers here on pc and on q35,
PM_XEN          equ 0xB000              ; Xen's firmware here; and from there on they are
PM1_STS         equ 0
PM1_EN          equ 2
PM1_CNT         equ 4
PM_TIMER        equ 8
POWER_BUTTON    equ 0x100
BIOS_TICK       equ 0x46C

RECORD          equ 0x9000              ; the record being built
SUPER           equ 0x9200
INFO            equ 0x9400              ; answer of INT 13h AH=48h
VARIABLES       equ 0x9600
STACK           equ 0x7000              ; downwards
SCAN_SEGMENT    equ 0x1000              ; 32 KiB buffer at 0x10000

KIND_TICK       equ 1
KIND_STOP       equ 2

; DX = the port of one of the ACPI registers.
%macro acpi 1
        mov     dx, [pm_base]
        add     dx, %1
%endmacro

        bits 16
        cpu 686
        org 0x7C00

; ---------------------------------------------------------------- boot sector
start:
        cli
        xor     ax, ax
        mov     ds, ax
        mov     es, ax
        mov     ss, ax
        mov     sp, STACK
        sti
        cld
        jmp     0:.here                 ; some firmware comes in at 07C0:0000
.here:
        mov     di, VARIABLES
        mov     cx, VARIABLES_SIZE
        rep stosb                       ; AL is 0
        mov     [drive], dl
        mov     word [patience], 0x8000
        mov     word [every_tick], nothing
        mov     si, packets
        mov     di, packet_program
        mov     cx, PACKETS_SIZE
        rep movsb
        call    serial_init
.load:
        mov     si, packet_program
        mov     ah, 0x42
        call    disk_call
        jnc     main
        mov     si, text_program
        call    complain
        jmp     .load

; AH = INT 13h function, SI = packet. Carry on failure, and its code in [status]. Keeps all registers.
; A failed call leaves the number of sectors it did in the packet: put back, or the second try would
; transfer nothing and succeed.
disk_call:
        pushad
        push    es
        push    si
        push    word [si + 2]
        mov     al, 0
        mov     dl, [drive]
        int     0x13
        cld
        pop     cx
        pop     si
        mov     [si + 2], cx            ; pop and mov leave the carry of INT 13h alone
        pop     es
        mov     [status], ah
        popad
        ret

; Says SI, the status of the last disk call, and waits about a second.
complain:
        call    say
        mov     al, [status]
        call    hex8
        call    newline
        mov     cx, 18
; Waits CX timer interrupts.
wait_ticks:
        call    idle
        loop    wait_ticks
        ret

; Sleeps until the next timer tick. The second stage hangs the clock and the power button in here.
idle:
        push    eax
.sleep:
        mov     eax, [BIOS_TICK]
        hlt
        cmp     eax, [BIOS_TICK]
        je      .sleep
        pop     eax
        jmp     [every_tick]
nothing:
        ret

serial_init:
        mov     si, .table
        mov     cx, 7
.next:
        lodsw                           ; AL = register, AH = value
        mov     dx, COM1
        add     dl, al
        mov     al, ah
        out     dx, al
        loop    .next
        mov     si, text_begin          ; whatever a killed guest left unfinished ends here
        jmp     say
.table: db 3, 0x80, 0, 0x01, 1, 0x00, 3, 0x03, 1, 0x00, 2, 0x07, 4, 0x03

; Says the text at SI, which ends in 0.
say:
        lodsb
        test    al, al
        jz      nothing
        call    put
        jmp     say

newline:
        mov     al, 13
        call    put
        mov     al, 10
; Sends AL. A console that takes nothing must not stop the guest: the wait has an end, and the rest
; of that line is then dropped without waiting.
put:
        push    ax
        push    cx
        push    dx
        mov     ah, 0
        rol     word [line_sum], 1
        add     [line_sum], ax
        mov     ah, al
        mov     dx, COM1 + 5
        mov     cx, [patience]
        jcxz    .full
.wait:
        in      al, dx
        test    al, 0x20
        jnz     .send
        loop    .wait
.full:
        mov     [patience], cx          ; 0
        jmp     .sent
.send:
        mov     dx, COM1
        mov     al, ah
        out     dx, al
.sent:
        cmp     ah, 10
        jne     .done
        mov     word [patience], 0x8000
        mov     word [line_sum], 0
.done:
        pop     dx
        pop     cx
        pop     ax
        ret

; Says EAX, AX or AL in hexadecimal.
hex32:
        push    eax
        shr     eax, 16
        call    hex16
        pop     eax
hex16:
        push    ax
        mov     al, ah
        call    hex8
        pop     ax
hex8:
        push    ax
        shr     al, 4
        call    .digit
        pop     ax
.digit:
        push    ax
        and     al, 15
        cmp     al, 10
        sbb     al, 0x69
        das
        call    put
        pop     ax
        ret

text_begin:     db 13, 10, 0
text_program:   db "E second stage not readable, status=", 0


; The packets of INT 13h: size, sectors, offset and segment of the buffer, LBA. Copied away, like all that
; is written to.
packets:
        dw      16, PROGRAM_SECTORS - 1, 0x7E00, 0
        dq      1
        dw      16, 1, RECORD, 0        ; one sector: the superblock or a record
        dq      0
        dw      16, 0, 0, SCAN_SEGMENT
        dq      0
PACKETS_SIZE    equ $ - packets

        times 446 - ($ - $$) db 0       ; then an empty partition table: nothing there looks like one
        times 64 db 0
        dw      0xAA55

; ---------------------------------------------------------------- second stage
main:
        call    acpi_init
        mov     word [every_tick], housekeeping
        mov     word [kind], KIND_TICK
        call    random
        mov     [run], eax

        mov     word [INFO], 30
.size:
        mov     si, INFO
        mov     ah, 0x48
        call    disk_call
        jnc     .sized
        mov     si, text_size
        call    complain
        call    leave_if_asked
        jmp     .size
.sized:

; The superblock: read it, or make it on the very first boot. A damaged one is never replaced: that
; would hide the damage.
superblock:
        mov     word [packet_one + 4], SUPER
        mov     dword [packet_one + 8], SUPER_LBA
        mov     si, text_super_read
        call    read_one
        mov     di, SUPER
        mov     cx, 128
        xor     eax, eax
        repe scasd
        je      .first_boot
        mov     bx, SUPER
        call    crc
        cmp     eax, [SUPER + 508]
        jne     .damaged
        mov     si, magic_super
        mov     di, SUPER
        mov     cx, 8
        repe cmpsb
        jne     .damaged
        cmp     dword [SUPER + 12], 0
        jne     find_last
.damaged:
        mov     si, text_damaged
        call    complain
        call    leave_if_asked
        jmp     superblock
.first_boot:
        mov     si, magic_super         ; the buffer is all zero here
        mov     di, SUPER
        mov     cx, 8
        rep movsb
        call    random
        mov     [SUPER + 8], eax
        mov     eax, [INFO + 16]
        mov     [SUPER + 16], eax
        mov     edx, [INFO + 20]
        mov     [SUPER + 20], edx
        sub     eax, RING_LBA
        sbb     edx, 0
        jnz     .large
        cmp     eax, RING_LIMIT
        jbe     .ring
.large:
        mov     eax, RING_LIMIT
.ring:
        mov     [SUPER + 12], eax
        mov     di, SUPER + 24
        call    read_rtc
        mov     bx, SUPER
        call    crc
        mov     [SUPER + 508], eax
.write:
        mov     si, packet_one
        mov     ah, 0x43
        call    disk_call
        jnc     find_last
        mov     si, text_super_write
        call    complain
        call    leave_if_asked
        jmp     .write

; Finds the highest numbered record of this disk id whose checksum is right.
find_last:
        mov     dword [limit], -1
.again:
        mov     dword [number], 0
        xor     ebx, ebx                ; EBX = slot
.chunk:
        mov     eax, [SUPER + 12]
        sub     eax, ebx                ; slots left
        jz      .scanned
        cmp     eax, SCAN_SECTORS
        jbe     .count
        mov     eax, SCAN_SECTORS
.count:
        mov     [packet_scan + 2], ax
        mov     bp, ax
        lea     eax, [ebx + RING_LBA]
        mov     [packet_scan + 8], eax
.read:
        mov     si, packet_scan
        mov     ah, 0x42
        call    disk_call
        jnc     .look
        mov     si, text_scan
        call    complain
        call    leave_if_asked
        jmp     .read
.look:
        mov     ax, SCAN_SEGMENT
        mov     fs, ax
        xor     di, di
.slot:
        mov     eax, [magic_record]
        cmp     eax, [fs:di]
        jne     .next
        mov     eax, [magic_record + 4]
        cmp     eax, [fs:di + 4]
        jne     .next
        mov     eax, [SUPER + 8]
        cmp     eax, [fs:di + 8]
        jne     .next
        mov     ecx, [fs:di + 16]
        cmp     ecx, [number]           ; unsigned: also leaves out number 0
        jbe     .next
        cmp     ecx, [limit]
        jae     .next
        lea     eax, [ecx - 1]
        xor     edx, edx
        div     dword [SUPER + 12]
        cmp     edx, ebx
        jne     .next
        mov     [number], ecx
.next:
        add     di, 512
        inc     ebx
        dec     bp
        jnz     .slot
        jmp     .chunk
.scanned:
        mov     eax, [number]
        test    eax, eax
        jz      .nothing
        mov     word [packet_one + 4], RECORD
        call    place_record
        mov     si, text_scan
        call    read_one
        mov     bx, RECORD
        call    crc
        cmp     eax, [RECORD + 508]
        je      .found
        mov     si, text_bad_record
        call    say
        mov     eax, [number]
        call    decimal8
        call    newline
        mov     eax, [number]           ; look once more, below the damaged one
        mov     [limit], eax
        jmp     .again
.found:
        mov     [sum], eax
        mov     eax, [RECORD + 24]
        inc     eax
        mov     [boot], eax
        jmp     hello
.nothing:
        mov     eax, [SUPER + 508]
        mov     [sum], eax
        mov     dword [boot], 1
        mov     word [packet_one + 4], RECORD

hello:
        mov     si, text_boot
        call    say_boot_run
        mov     si, text_disk
        call    say
        mov     eax, [SUPER + 8]
        call    hex32
        mov     si, text_sectors
        call    say
        mov     eax, [INFO + 20]
        test    eax, eax
        jz      .low
        call    hex32
.low:
        mov     eax, [INFO + 16]
        call    hex32
        mov     si, text_ring
        call    say
        mov     eax, [SUPER + 12]
        call    hex32
        mov     si, text_last
        call    say
        mov     eax, [number]
        call    decimal8
        call    say_sum

; One record, then a pause; for ever.
record:
        inc     dword [number]
        cmp     byte [button], 0
        je      .build
        mov     si, text_power
        call    say
        mov     word [kind], KIND_STOP
.build:
        call    make_record
.write:
        mov     si, packet_one
        mov     ah, 0x43
        call    disk_call
        jnc     .acknowledged
        mov     si, text_write
        call    say
        mov     eax, [number]
        call    decimal8
        mov     si, text_status
        call    complain
        cmp     byte [button], 0        ; the disk is gone for good: the button must still work
        je      .write
        dec     dword [number]
        jmp     power_off
.acknowledged:
        mov     eax, [RECORD + 508]
        mov     [sum], eax
        call    say_record
        cmp     word [kind], KIND_STOP
        je      power_off
        mov     cx, TICKS
.pause:
        cmp     byte [button], 0
        jne     record
        call    idle
        loop    .pause
        jmp     record

; Returns, unless the power button was pressed.
leave_if_asked:
        cmp     byte [button], 0
        jne     power_off
        ret
power_off:
        mov     si, text_goodbye
        call    say
        mov     eax, [number]
        call    decimal8
        mov     si, text_goodbye2
        call    say
        mov     dx, COM1 + 5            ; let the last line leave the UART
        mov     cx, 0x8000
.drain:
        in      al, dx
        test    al, 0x40
        loopz   .drain
        acpi    PM1_CNT
        in      ax, dx
        and     ax, 0xC3FF              ; SLP_TYP 0 is soft-off on pc and on q35
        or      ax, 0x2000              ; SLP_EN
        out     dx, ax
        mov     cx, 36
        call    wait_ticks
        mov     si, text_still
        call    say
        jmp     power_off

say_boot_run:
        call    say
        mov     eax, [boot]
        call    decimal4
        mov     si, text_run
        call    say
        mov     eax, [run]
        jmp     hex32

; "T number boot=... sum=...", from the record that was just written.
say_record:
        mov     si, text_tick_line
        call    say
        mov     eax, [number]
        call    decimal8
        mov     si, text_record_boot
        call    say_boot_run
        mov     si, text_tick
        call    say
        mov     eax, [RECORD + 40]
        call    hex32
        mov     si, text_running
        call    say
        mov     ax, [RECORD + 52]
        call    hex16
        mov     eax, [RECORD + 48]
        call    hex32
        mov     si, text_rtc
        call    say
        mov     bx, RECORD + 56
.rtc:
        mov     al, [bx]
        call    hex8
        inc     bx
        cmp     bx, RECORD + 63
        jne     .rtc
say_sum:
        mov     si, text_sum
        call    say
        mov     eax, [sum]
        call    hex32
        mov     ax, [line_sum]
        mov     si, text_line
        push    ax
        call    say
        pop     ax
        call    hex16
        jmp     newline

; Says EAX in decimal, with at least eight (or four) digits.
decimal4:
        mov     bp, 4
        jmp     decimal
decimal8:
        mov     bp, 8
decimal:
        mov     ebx, 10
        xor     cx, cx
.divide:
        xor     edx, edx
        div     ebx
        push    dx
        inc     cx
        test    eax, eax
        jnz     .divide
        cmp     cx, bp
        jb      .divide
.say:
        pop     ax
        add     al, "0"
        call    put
        loop    .say
        ret

; Reads one sector by packet_one until it works; SI = what to say when it does not.
read_one:
        push    si
        mov     si, packet_one
        mov     ah, 0x42
        call    disk_call
        pop     si
        jnc     .done
        push    si
        call    complain
        call    leave_if_asked
        pop     si
        jmp     read_one
.done:
        ret

; Sets the LBA of packet_one for [number].
place_record:
        mov     eax, [number]
        dec     eax
        xor     edx, edx
        div     dword [SUPER + 12]
        add     edx, RING_LBA
        mov     [packet_one + 8], edx
        ret

make_record:
        mov     ax, es
        or      ax, ax
        jz      .at_home
; Seen once in some hundred migrations under QEMU's translator: from then on nothing arrived that was stored
; through ES, and the record before the migration was written again and again. Now it is told and mended.
        mov     si, text_segment
        call    say
        mov     ax, es
        call    hex16
        call    newline
        xor     ax, ax
        mov     es, ax
.at_home:
        call    place_record
        mov     si, magic_record
        mov     di, RECORD
        mov     cx, 4
        rep movsw
        mov     eax, [SUPER + 8]
        stosd
        mov     eax, [SUPER + 12]
        stosd
        mov     eax, [number]
        stosd
        xor     eax, eax
        stosd
        mov     eax, [boot]
        stosd
        mov     eax, [run]
        stosd
        mov     eax, [sum]
        stosd
        movzx   eax, word [kind]
        stosd
        mov     eax, [BIOS_TICK]
        stosd
        mov     eax, [packet_one + 8]
        stosd
        call    update_clock
        mov     eax, [running]
        stosd
        mov     eax, [running + 4]
        stosd
        call    read_rtc                ; eight bytes at DI
        rdtsc
        stosd
        mov     eax, edx
        stosd
.fill:
        mov     eax, [number]
        movzx   edx, di
        sub     edx, RECORD
        xor     eax, edx
        stosd
        cmp     di, RECORD + 508
        jne     .fill
        mov     bx, RECORD
        call    crc
        stosd
        ret

; EAX = CRC-32 (polynomial EDB88320 reflected, as zlib) of 508 bytes at BX.
crc:
        push    cx
        push    si
        mov     si, bx
        or      eax, -1
.byte:
        xor     al, [si]
        inc     si
        mov     cx, 8
.bit:
        shr     eax, 1
        jnc     .even
        xor     eax, 0xEDB88320
.even:
        loop    .bit
        lea     cx, [bx + 508]
        cmp     si, cx
        jne     .byte
        not     eax
        pop     si
        pop     cx
        ret

; EAX = a number that is hardly ever the same twice, never 0.
random:
        rdtsc
        mov     ecx, eax
        rol     ecx, 11
        mov     di, scratch
        call    read_rtc
        xor     eax, [scratch + 3]
        xor     eax, [BIOS_TICK]
        add     eax, edx
        imul    eax, eax, 0x2C1B3C6D
        xor     eax, ecx
        imul    eax, eax, 0x297A2D39
        mov     ecx, eax
        shr     ecx, 15
        xor     eax, ecx
        jz      random
        ret

; Eight bytes at DI: century year month day hour minute second 0. DI moves on.
read_rtc:
        push    eax
        push    cx
        push    si
        mov     cx, 8                   ; tries
.try:
        mov     al, 0
        call    cmos
        mov     ah, al                  ; the second before
        push    di
        mov     si, .registers
.next:
        lodsb
        cmp     al, 0xFF
        je      .compare
        call    cmos
        stosb
        jmp     .next
.compare:
        mov     al, 0
        stosb
        call    cmos
        pop     si
        cmp     al, ah                  ; the second passed while reading: once more
        je      .done
        mov     di, si
        loop    .try
        add     di, 8
.done:
        pop     si
        pop     cx
        pop     eax
        ret
.registers: db 0x32, 9, 8, 7, 4, 2, 0, 0xFF

; AL = register AL of the CMOS clock.
cmos:
        cli
        out     0x70, al
        in      al, 0x71
        sti
        ret

; Every timer tick: the running clock, and the power button. Keeps all registers.
housekeeping:
        pushad
        call    update_clock
        cmp     byte [no_acpi], 0
        jne     .done
        acpi    PM1_STS
        in      ax, dx
        test    ax, POWER_BUTTON
        jz      .done
        mov     ax, POWER_BUTTON
        out     dx, ax                  ; writing the bit clears it
        mov     byte [button], 1
.done:
        popad
        ret

; Adds what the 24-bit PM timer moved on to [running]. Spoils EAX, EDX and ECX.
update_clock:
        cmp     byte [no_acpi], 0
        jne     .done
        acpi    PM_TIMER
        in      eax, dx
        mov     ecx, eax
        sub     eax, [timer]
        and     eax, 0xFFFFFF
        mov     [timer], ecx
        add     [running], eax
        adc     dword [running + 4], 0
.done:
        ret

; QEMU raises the status of the power button only while its enable bit is set.
acpi_init:
        acpi    PM1_CNT
        in      ax, dx
        cmp     ax, 0xFFFF
        jne     .found
        mov     word [pm_base], PM_XEN
        acpi    PM1_CNT
        in      ax, dx
        cmp     ax, 0xFFFF
        je      .none
.found:
        acpi    PM1_STS
        mov     ax, POWER_BUTTON
        out     dx, ax
        acpi    PM1_EN
        in      ax, dx
        or      ax, POWER_BUTTON
        out     dx, ax
        acpi    PM_TIMER
        in      eax, dx
        mov     [timer], eax
        ret
.none:
        mov     byte [no_acpi], 1
        mov     si, text_no_acpi
        jmp     say

magic_super:    db "GNTRYSB1"
magic_record:   db "GNTRYTK1"

pm_base:        dw PM_SEABIOS
text_segment:   db "E a segment was lost: ES=", 0
text_no_acpi:   db "E no ACPI: the power button cannot be seen", 13, 10, 0
text_size:      db "E size of the disk not known, status=", 0
text_super_read: db "E superblock not readable, status=", 0
text_super_write: db "E superblock not written, status=", 0
text_damaged:   db "E superblock damaged: nothing is written; read status=", 0
text_scan:      db "E records not readable, status=", 0
text_bad_record: db "E bad checksum on the disk, going on before it: number=", 0
text_write:     db "E write failed, trying again: number=", 0
text_status:    db " status=", 0
text_power:     db "P power button", 13, 10, 0
text_goodbye:   db "G ", 0
text_goodbye2:  db " goodbye", 13, 10, 0
text_still:     db "E still running after power-off", 13, 10, 0
text_boot:      db "B boot=", 0
text_record_boot: db " boot=", 0
text_run:       db " run=", 0
text_disk:      db " disk=", 0
text_sectors:   db " sectors=", 0
text_ring:      db " ring=", 0
text_last:      db " last=", 0
text_sum:       db " sum=", 0
text_line:      db " line=", 0
text_tick_line: db "T ", 0
text_tick:      db " tick=", 0
text_running:   db " running=", 0
text_rtc:       db " rtc=", 0


        times PROGRAM_SECTORS * 512 - ($ - $$) db 0

; ---------------------------------------------------------------- variables
; They, the buffers and the stack are in other pages than the code: an emulator throws away what it
; has translated when a page with code in it is written to, which made a record cost three times as much.
        absolute VARIABLES
packet_program: resb 16
packet_one:     resb 16
packet_scan:    resb 16
running:        resq 1                  ; PM timer counts since boot
scratch:        resq 1
number:         resd 1
boot:           resd 1
run:            resd 1
sum:            resd 1                  ; CRC of the last good record
limit:          resd 1                  ; find_last looks for numbers below this one
timer:          resd 1                  ; the PM timer when last read
patience:       resw 1                  ; how often to look whether the console takes a byte
line_sum:       resw 1
every_tick:     resw 1                  ; called after each timer tick
kind:           resw 1
drive:          resb 1
status:         resb 1                  ; of the last INT 13h
button:         resb 1                  ; the power button was pressed
no_acpi:        resb 1
VARIABLES_SIZE  equ $ - VARIABLES
