; Copyright (c) 2026 The gantry.cluster team
; GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
; SPDX-License-Identifier: GPL-3.0-or-later
;
; The test guest where there is no BIOS: the first process of a Xen guest or of a container.
;
; It does what guest.asm does, with the same records on its disk and the same lines on its console (both are described
; at the top of that file), so lab/guest/check.py judges it, too. It is a whole program for x86-64 Linux that needs no
; library, no shell and no linker. Build: lab/guest/build --kind xen|lxc.
;
;   xen   (-DXEN)  /init of an initrd. The disk is /dev/xvda; /xen-blkfront.ko is loaded for it. Started a second time, as
;                  /sbin/poweroff by the kernel when Xen asks for a shutdown, it tells the first process.
;   lxc            /sbin/init of a container. The disk is the file /disk on the container's own file system. A request on the
;                  pipe /dev/initctl is a wish to end, as a signal is: libvirt asks so first, and believes that it was heard.
;
; Where the clocks differ: "running" is CLOCK_MONOTONIC and "tick" is reckoned from CLOCK_REALTIME, both in the units of
; guest.asm. Acknowledged means durable: the disk is opened with O_DIRECT and O_SYNC.
; "E ... status=" shows an error number of Linux.

%ifndef TICKS
%define TICKS 3                         ; timer ticks (54.9 ms) from one record to the next
%endif
%ifndef RING_LIMIT
%define RING_LIMIT 16368                ; records; with the 16 sectors in front that is 8 MiB
%endif

PROGRAM         equ 0x400000
MEMORY          equ 0x401000            ; the program has to end before
MEMORY_SIZE     equ 0x10000             ; of both

SUPER_LBA       equ 8
RING_LBA        equ 16
SCAN_SECTORS    equ 64                  ; sectors read at once when looking for the last record
PM_TIMER_HZ     equ 3579545
TICK_NS         equ 54925400

KIND_TICK       equ 1
KIND_STOP       equ 2

SYS_write       equ 1
SYS_open        equ 2
SYS_poll        equ 7
SYS_lseek       equ 8
SYS_sigprocmask equ 14
SYS_ioctl       equ 16
SYS_pread       equ 17
SYS_pwrite      equ 18
SYS_getpid      equ 39
SYS_exit        equ 60
SYS_kill        equ 62
SYS_mount       equ 165
SYS_mknod       equ 133
SYS_reboot      equ 169
SYS_sigtimed    equ 128
SYS_clock       equ 228
SYS_finit       equ 313
SYS_getrandom   equ 318

O_CONSOLE       equ 0x902               ; O_RDWR, O_NOCTTY, O_NONBLOCK
O_INITCTL       equ 0x802               ; O_RDWR, O_NONBLOCK
S_IFIFO         equ 0x1000
REQUEST_SIZE    equ 384                 ; of init's pipe
O_DISK          equ 0x105002            ; O_RDWR, O_DIRECT, O_SYNC
SIGTERM         equ 15
; The wish to end: SIGHUP, SIGINT (Ctrl-Alt-Del), SIGTERM, SIGPWR, SIGRTMIN+3 and +4 (as systemd has them).
SIGNALS         equ 1 << 0 | 1 << 1 | 1 << 14 | 1 << 29 | 1 << 36 | 1 << 37

        bits 64
        org PROGRAM

; ---------------------------------------------------------------- what makes it a program: one segment, all rights
elf:
        db      0x7F, "ELF", 2, 1, 1, 0
        dq      0
        dw      2, 62
        dd      1
        dq      start, loaded - elf, 0
        dd      0
        dw      64, 56, 1, 0, 0, 0
loaded:
        dd      1, 7
        dq      0, elf, elf, program_end - elf, MEMORY_SIZE, 0x1000

; Calls Linux: RAX = number, RDI RSI RDX R10 = arguments. Sets the sign flag on failure and keeps the error number.
linux:
        push    rcx
        push    r11
        syscall
        pop     r11
        pop     rcx
        test    rax, rax
        jns     .done
        mov     [status], eax
        neg     dword [status]
        test    rax, rax
.done:
        ret

start:
        mov     eax, SYS_getpid
        syscall
        cmp     eax, 1
        je      first
        mov     edi, 1                  ; somebody's /sbin/poweroff: the first process is asked
        mov     esi, SIGTERM
        mov     eax, SYS_kill
        syscall
        xor     edi, edi
        mov     eax, SYS_exit
        syscall

first:
%ifdef XEN
        mov     edi, text_devtmpfs
        mov     esi, path_dev
        mov     edx, text_devtmpfs
        xor     r10d, r10d
        xor     r8d, r8d
        mov     eax, SYS_mount
        call    linux
%endif
        mov     edi, path_console
        mov     esi, O_CONSOLE
        mov     eax, SYS_open
        call    linux
        jns     .console
        mov     eax, 1
.console:
        mov     [console], eax
; Signals are never handled: they are kept back, and asked for while there is time.
        xor     edi, edi
        mov     esi, signals
        xor     edx, edx
        mov     r10d, 8
        mov     eax, SYS_sigprocmask
        call    linux
        mov     eax, 10                 ; whatever a killed guest left unfinished ends here
        call    put
        call    send
        call    make_crc_table
%ifndef XEN
        mov     edi, path_initctl
        mov     esi, S_IFIFO | 0600o
        xor     edx, edx
        mov     eax, SYS_mknod
        call    linux
        mov     edi, path_initctl
        mov     esi, O_INITCTL
        mov     eax, SYS_open
        call    linux
        mov     [initctl], eax          ; of a failure, too: then each read fails
%endif
%ifdef XEN
        xor     edx, edx                ; Ctrl-Alt-Del is a signal, not a reset
        call    reboot
        mov     edi, path_module
        xor     esi, esi
        mov     eax, SYS_open
        call    linux
        js      disk
        mov     edi, eax
        mov     esi, nothing
        xor     edx, edx
        mov     eax, SYS_finit
        call    linux
%endif
disk:
        mov     edi, path_disk
        mov     esi, O_DISK
        mov     eax, SYS_open
        call    linux
        jns     .open
        mov     esi, text_disk_not
        call    complain
        jmp     disk
.open:
        mov     [handle], eax
.size:
        mov     edi, [handle]
        xor     esi, esi
        mov     edx, 2                  ; SEEK_END
        mov     eax, SYS_lseek
        call    linux
        jns     .sized
        mov     esi, text_size
        call    complain
        jmp     .size
.sized:
        shr     rax, 9
        mov     [sectors], rax
        mov     word [kind], KIND_TICK
        call    random
        mov     [run], eax

; The superblock: read it, or make it on the very first boot. A damaged one is never replaced: that would hide the
; damage.
superblock:
        mov     ebx, super
        mov     ebp, SUPER_LBA
        mov     esi, text_super_read
        call    read_one
        mov     edi, super
        mov     ecx, 64
        xor     eax, eax
        repe scasq
        je      .first_boot
        mov     ebx, super
        call    crc
        cmp     eax, [super + 508]
        jne     .damaged
        mov     rax, [magic_super]
        cmp     rax, [super]
        jne     .damaged
        cmp     dword [super + 12], 0
        jne     find_last
.damaged:
        mov     esi, text_damaged
        call    complain
        jmp     superblock
.first_boot:
        mov     rax, [magic_super]      ; the buffer is all zero here
        mov     [super], rax
        call    random
        mov     [super + 8], eax
        mov     rax, [sectors]
        mov     [super + 16], rax
        sub     rax, RING_LBA
        cmp     rax, RING_LIMIT
        jbe     .ring
        mov     eax, RING_LIMIT
.ring:
        mov     [super + 12], eax
        call    read_clocks
        mov     rax, [rtc]
        mov     [super + 24], rax
        mov     ebx, super
        call    crc
        mov     [super + 508], eax
.write:
        mov     ebx, super
        mov     ebp, SUPER_LBA
        call    write_one
        jns     find_last
        mov     esi, text_super_write
        call    complain
        jmp     .write

; Finds the highest numbered record of this disk id whose checksum is right. R12 = only below this number, R13 = slot,
; R14 = slots in the chunk, R15 = where in the buffer.
find_last:
        mov     r12, -1
.again:
        mov     qword [number], 0
        xor     r13d, r13d
.chunk:
        mov     r14d, [super + 12]
        sub     r14d, r13d              ; slots left
        jz      .scanned
        cmp     r14d, SCAN_SECTORS
        jbe     .read
        mov     r14d, SCAN_SECTORS
.read:
        mov     edi, [handle]
        mov     esi, scan
        mov     edx, r14d
        shl     edx, 9
        lea     r10, [r13 + RING_LBA]
        shl     r10, 9
        mov     eax, SYS_pread
        call    linux
        js      .failed
        mov     edx, r14d
        shl     edx, 9
        cmp     eax, edx
        je      .look
.failed:
        mov     esi, text_scan
        call    complain
        jmp     .read
.look:
        mov     r15d, scan
.slot:
        mov     rax, [magic_record]
        cmp     rax, [r15]
        jne     .next
        mov     eax, [super + 8]
        cmp     eax, [r15 + 8]
        jne     .next
        mov     rcx, [r15 + 16]
        cmp     rcx, [number]           ; unsigned: also leaves out number 0
        jbe     .next
        cmp     rcx, r12
        jae     .next
        lea     rax, [rcx - 1]
        xor     edx, edx
        mov     ebx, [super + 12]
        div     rbx
        cmp     edx, r13d
        jne     .next
        mov     [number], rcx
.next:
        add     r15d, 512
        inc     r13d
        dec     r14d
        jnz     .slot
        jmp     .chunk
.scanned:
        mov     eax, [super + 508]
        mov     [sum], eax
        mov     dword [boot], 1
        cmp     qword [number], 0
        je      hello
        call    place_record
        mov     ebx, record
        mov     esi, text_scan
        call    read_one
        mov     ebx, record
        call    crc
        cmp     eax, [record + 508]
        je      .found
        mov     esi, text_bad_record
        call    text
        mov     rax, [number]
        mov     ecx, 8
        call    decimal
        call    newline
        mov     r12, [number]           ; look once more, below the damaged one
        jmp     .again
.found:
        mov     [sum], eax
        mov     eax, [record + 24]
        inc     eax
        mov     [boot], eax

hello:
        mov     esi, text_boot
        call    boot_and_run
        mov     esi, text_disk
        mov     eax, [super + 8]
        mov     ecx, 8
        call    text_hex
        mov     esi, text_sectors
        mov     rax, [sectors]
        mov     ecx, 16
        call    text_hex
        mov     esi, text_ring
        mov     eax, [super + 12]
        mov     ecx, 8
        call    text_hex
        mov     esi, text_last
        call    text
        mov     rax, [number]
        mov     ecx, 8
        call    decimal
        call    end_line

; One record, then a pause; for ever.
another:
        inc     qword [number]
        cmp     byte [button], 0
        je      .build
        mov     esi, text_power
        call    text
        call    newline
        mov     word [kind], KIND_STOP
.build:
        call    make_record
.write:
        call    place_record
        mov     ebx, record
        call    write_one
        jns     .acknowledged
        mov     esi, text_write
        call    text
        mov     rax, [number]
        mov     ecx, 8
        call    decimal
        mov     esi, text_status
        call    tell_status
        call    second
        cmp     byte [button], 0        ; the disk is gone for good: a shutdown must still work
        je      .write
        dec     qword [number]
        jmp     power_off
.acknowledged:
        mov     eax, [record + 508]
        mov     [sum], eax
        mov     esi, text_tick
        call    text
        mov     rax, [number]
        mov     ecx, 8
        call    decimal
        mov     esi, text_tick_boot
        call    boot_and_run
        mov     esi, text_bios_tick
        mov     eax, [record + 40]
        mov     ecx, 8
        call    text_hex
        mov     esi, text_running
        mov     rax, [record + 48]
        mov     ecx, 12
        call    text_hex
        mov     esi, text_rtc
        mov     rax, [record + 56]
        bswap   rax
        shr     rax, 8
        mov     ecx, 14
        call    text_hex
        call    end_line
        cmp     word [kind], KIND_STOP
        je      power_off
        mov     esi, pause_record
        call    pause
        jmp     another

power_off:
        mov     esi, text_goodbye
        call    text
        mov     rax, [number]
        mov     ecx, 8
        call    decimal
        mov     esi, text_goodbye2
        call    text
        call    newline
        mov     edi, [console]          ; let the last line out
        mov     esi, 0x5409             ; TCSBRK
        mov     edx, 1
        mov     eax, SYS_ioctl
        call    linux
        mov     esi, pause_end
        call    pause
        mov     edx, 0x4321FEDC         ; power off
        call    reboot
        xor     edi, edi                ; a container ends with its first process
        mov     eax, SYS_exit
        syscall

; RDX = what to do.
reboot:
        mov     edi, 0xFEE1DEAD
        mov     esi, 672274793
        mov     eax, SYS_reboot
        jmp     linux

; ---------------------------------------------------------------- records
make_record:
        mov     edi, record
        mov     rax, [magic_record]
        mov     [rdi], rax
        mov     rax, [super + 8]        ; disk id and ring
        mov     [rdi + 8], rax
        mov     rax, [number]
        mov     [rdi + 16], rax
        mov     eax, [boot]
        mov     [rdi + 24], eax
        mov     eax, [run]
        mov     [rdi + 28], eax
        mov     eax, [sum]
        mov     [rdi + 32], eax
        movzx   eax, word [kind]
        mov     [rdi + 36], eax
        call    place_record
        mov     [record + 44], ebp
        call    read_clocks
        mov     eax, [tick]
        mov     [record + 40], eax
        mov     rax, [running]
        mov     [record + 48], rax
        mov     rax, [rtc]
        mov     [record + 56], rax
        rdtsc
        mov     [record + 64], eax
        mov     [record + 68], edx
        mov     ecx, 72
.fill:
        mov     eax, ecx
        xor     eax, [number]
        mov     [record + ecx], eax
        add     ecx, 4
        cmp     ecx, 508
        jb      .fill
        mov     ebx, record
        call    crc
        mov     [record + 508], eax
        ret

; RBP = the sector of the record [number].
place_record:
        mov     rax, [number]
        dec     rax
        xor     edx, edx
        mov     ecx, [super + 12]
        div     rcx
        lea     rbp, [rdx + RING_LBA]
        ret

; Reads the sector RBP to RBX; after each failure it says RSI.
read_one:
        mov     r15d, esi
.again:
        mov     edi, [handle]
        mov     esi, ebx
        mov     edx, 512
        mov     r10, rbp
        shl     r10, 9
        mov     eax, SYS_pread
        call    linux
        cmp     rax, 512
        je      .done
        mov     esi, r15d
        push    rbx
        push    rbp
        call    complain
        pop     rbp
        pop     rbx
        jmp     .again
.done:
        ret

; Writes the sector RBP from RBX. Sign flag on failure.
write_one:
        mov     edi, [handle]
        mov     esi, ebx
        mov     edx, 512
        mov     r10, rbp
        shl     r10, 9
        mov     eax, SYS_pwrite
        call    linux
        js      .done
        cmp     rax, 512
.done:
        ret

; EAX = CRC-32 of the first 508 bytes at RBX.
crc:
        mov     eax, -1
        mov     ecx, 508
        mov     edx, ebx
.next:
        movzx   esi, byte [edx]
        xor     sil, al
        shr     eax, 8
        xor     eax, [crc_table + esi * 4]
        inc     edx
        dec     ecx
        jnz     .next
        not     eax
        ret

make_crc_table:
        xor     ecx, ecx
.entry:
        mov     eax, ecx
        mov     edx, 8
.bit:
        shr     eax, 1
        jnc     .clear
        xor     eax, 0xEDB88320
.clear:
        dec     edx
        jnz     .bit
        mov     [crc_table + ecx * 4], eax
        inc     ecx
        cmp     ecx, 256
        jb      .entry
        ret

; EAX = a random number, not 0. Early in a boot there may be little chance in it, so the clocks are mixed in.
random:
        mov     edi, chance
        mov     esi, 8
        mov     edx, 4                  ; GRND_INSECURE: never waits
        mov     eax, SYS_getrandom
        call    linux
        mov     edi, 0                  ; CLOCK_REALTIME
        mov     esi, moment
        mov     eax, SYS_clock
        call    linux
        rdtsc
        xor     eax, edx
        xor     eax, [chance]
        xor     eax, [moment + 8]
        jz      random
        ret

; ---------------------------------------------------------------- clocks
; [running], [tick] and [rtc] as a record has them.
read_clocks:
        mov     edi, 1                  ; CLOCK_MONOTONIC
        mov     esi, moment
        mov     eax, SYS_clock
        call    linux
        mov     rax, [moment]
        imul    rax, rax, PM_TIMER_HZ
        mov     rcx, rax
        mov     rax, [moment + 8]
        imul    rax, rax, PM_TIMER_HZ
        xor     edx, edx
        mov     ebx, 1000000000
        div     rbx
        add     rax, rcx
        mov     [running], rax
        mov     edi, 0                  ; CLOCK_REALTIME
        mov     esi, moment
        mov     eax, SYS_clock
        call    linux
        mov     rax, [moment]
        xor     edx, edx
        mov     ecx, 86400
        div     rcx
        mov     r8, rax                 ; days since 1970
        mov     r9, rdx                 ; seconds since midnight
        imul    rax, r9, 1000000000
        add     rax, [moment + 8]
        xor     edx, edx
        mov     ecx, TICK_NS
        div     rcx
        mov     [tick], eax
        mov     eax, r9d
        xor     edx, edx
        mov     ecx, 60
        div     ecx
        push    rdx                     ; second
        xor     edx, edx
        div     ecx
        push    rdx                     ; minute
        push    rax                     ; hour
; Days to a date, in years that begin with March: a leap day is then the last of its year.
        lea     rax, [r8 + 719468]
        xor     edx, edx
        mov     ecx, 146097
        div     rcx
        mov     r8, rax                 ; R8 = era of 400 years
        mov     r9, rdx                 ; R9 = day of the era
        mov     ecx, 1460
        call    era_part
        mov     r10, r9
        sub     r10, rax
        mov     ecx, 36524
        call    era_part
        add     r10, rax
        mov     ecx, 146096
        call    era_part
        sub     r10, rax
        mov     rax, r10
        xor     edx, edx
        mov     ecx, 365
        div     rcx
        mov     r10, rax                ; R10 = year of the era
        imul    rcx, r10, 365
        mov     rax, r10
        shr     rax, 2
        add     rcx, rax
        mov     rax, r10
        xor     edx, edx
        mov     ebx, 100
        div     rbx
        sub     rcx, rax
        sub     r9, rcx                 ; R9 = day of the year, from 0
        imul    r8, r8, 400
        add     r8, r10                 ; R8 = year
        lea     rax, [r9 * 5 + 2]
        xor     edx, edx
        mov     ecx, 153
        div     rcx
        mov     r10, rax                ; R10 = month, 0 is March
        imul    rax, rax, 153
        add     rax, 2
        xor     edx, edx
        mov     ecx, 5
        div     rcx
        sub     r9, rax
        inc     r9                      ; R9 = day of the month
        add     r10, 3
        cmp     r10, 12
        jbe     .year
        sub     r10, 12
        inc     r8
.year:
        mov     rax, r8
        xor     edx, edx
        mov     ecx, 100
        div     ecx
        mov     r8d, edx                ; year of the century
        mov     edi, rtc
        call    bcd
        mov     eax, r8d
        call    bcd
        mov     eax, r10d
        call    bcd
        mov     eax, r9d
        call    bcd
        pop     rax
        call    bcd
        pop     rax
        call    bcd
        pop     rax
        call    bcd
        mov     byte [rdi], 0
        ret

; RAX = R9 / RCX
era_part:
        mov     rax, r9
        xor     edx, edx
        div     rcx
        ret

; Stores EAX (0 to 99) as two digits at RDI, and moves on.
bcd:
        xor     edx, edx
        mov     ecx, 10
        div     ecx
        shl     eax, 4
        or      eax, edx
        stosb
        ret

; ---------------------------------------------------------------- pauses
second:
        mov     esi, pause_second
; Waits for the time at RSI, or until somebody wants us to end.
pause:
        mov     edx, esi
        mov     edi, signals
        xor     esi, esi
        mov     r10d, 8
        mov     eax, SYS_sigtimed
        call    linux
        js      .no_signal
        mov     byte [button], 1
.no_signal:
%ifndef XEN
        mov     edi, [initctl]
        mov     esi, request
        mov     edx, REQUEST_SIZE
        xor     eax, eax                ; read
        call    linux
        jle     .no_request
        mov     byte [button], 1
.no_request:
%endif
        ret

; Says RSI and the last error, and waits a second; ends if somebody wants that.
complain:
        call    tell_status
        call    second
        cmp     byte [button], 0
        jne     power_off
        ret

tell_status:
        mov     eax, [status]
        mov     ecx, 2
        call    text_hex
        jmp     newline

; ---------------------------------------------------------------- the console, a line at a time
boot_and_run:
        call    text
        mov     eax, [boot]
        mov     ecx, 4
        call    decimal
        mov     esi, text_run
        mov     eax, [run]
        mov     ecx, 8
; Says RSI and then RAX in CX hexadecimal digits.
text_hex:
        push    rax
        call    text
        pop     rax
hex:
        lea     ebx, [ecx * 4]
.next:
        sub     ebx, 4
        push    rax
        xchg    ecx, ebx
        shr     rax, cl
        xchg    ecx, ebx
        and     eax, 15
        mov     al, [digits + eax]
        call    put
        pop     rax
        test    ebx, ebx
        jnz     .next
        ret

; RAX in decimal, at least CX digits.
decimal:
        mov     ebx, 10
        xor     esi, esi                ; digits so far
.divide:
        xor     edx, edx
        div     rbx
        push    rdx
        inc     esi
        test    rax, rax
        jnz     .divide
        cmp     esi, ecx
        jb      .divide
.out:
        pop     rax
        add     al, '0'
        call    put
        dec     esi
        jnz     .out
        ret

; The text at RSI, which ends in 0.
text:
        lodsb
        test    al, al
        jz      .done
        call    put
        jmp     text
.done:
        ret

; AL into the line.
put:
        push    rdi
        mov     edi, [filled]
        mov     [line + edi], al
        inc     dword [filled]
        pop     rdi
        ret

; The end of a line that is guarded: the sum of the last record, then the checksum of what stands before " line=".
end_line:
        mov     esi, text_sum
        mov     eax, [sum]
        mov     ecx, 8
        call    text_hex
        xor     eax, eax
        xor     ecx, ecx
        xor     edx, edx
.next:
        cmp     ecx, [filled]
        je      .summed
        rol     ax, 1
        mov     dl, [line + ecx]
        add     ax, dx
        inc     ecx
        jmp     .next
.summed:
        mov     esi, text_line
        mov     ecx, 4
        call    text_hex
newline:
        mov     al, 10                  ; the terminal makes it CR LF
        call    put
; Sends the line. A console that takes nothing must not stop the guest: after a second the rest of the line is dropped.
send:
        mov     ebx, line
        mov     ebp, 10
.more:
        mov     edi, [console]
        mov     esi, ebx
        mov     edx, [filled]
        mov     eax, SYS_write
        call    linux
        js      .full
        add     ebx, eax
        sub     [filled], eax
        jz      .done
        jmp     .wait
.full:
        cmp     dword [status], 11      ; EAGAIN
        jne     .done
.wait:
        dec     ebp
        jz      .done
        mov     eax, [console]
        mov     [poll_console], eax
        mov     edi, poll_console
        mov     esi, 1
        mov     edx, 100
        mov     eax, SYS_poll
        call    linux
        jmp     .more
.done:
        mov     dword [filled], 0
        ret

; ---------------------------------------------------------------- what is known beforehand
        align 8
magic_super:    db "GNTRYSB1"
magic_record:   db "GNTRYTK1"
signals:        dq SIGNALS
pause_record:   dq TICKS * TICK_NS / 1000000000, TICKS * TICK_NS % 1000000000
pause_second:   dq 1, 0
pause_end:      dq 0, 300000000
poll_console:   dd 0
                dw 4, 0                 ; POLLOUT
digits:         db "0123456789ABCDEF"

path_console:   db "/dev/console", 0
%ifdef XEN
path_disk:      db "/dev/xvda", 0
path_dev:       db "/dev", 0
path_module:    db "/xen-blkfront.ko", 0
text_devtmpfs:  db "devtmpfs"
nothing:        db 0
%else
path_disk:      db "/disk", 0
path_initctl:   db "/dev/initctl", 0
%endif

text_disk_not:  db "E disk not there, status=", 0
text_size:      db "E size of the disk not known, status=", 0
text_super_read: db "E superblock not readable, status=", 0
text_super_write: db "E superblock not written, status=", 0
text_damaged:   db "E superblock damaged, status=", 0
text_scan:      db "E records not readable, status=", 0
text_bad_record: db "E bad checksum of record ", 0
text_write:     db "E write ", 0
text_status:    db " status=", 0
text_boot:      db "B boot=", 0
text_tick:      db "T ", 0
text_tick_boot: db " boot=", 0
text_run:       db " run=", 0
text_disk:      db " disk=", 0
text_sectors:   db " sectors=", 0
text_ring:      db " ring=", 0
text_last:      db " last=", 0
text_bios_tick: db " tick=", 0
text_running:   db " running=", 0
text_rtc:       db " rtc=", 0
text_sum:       db " sum=", 0
text_line:      db " line=", 0
text_power:     db "P power button", 0
text_goodbye:   db "G ", 0
text_goodbye2:  db " goodbye", 0
program_end:

; ---------------------------------------------------------------- what is not: zeros at the start
        absolute MEMORY                 ; O_DIRECT wants its buffers on sectors
super:          resb 512
record:         resb 512
scan:           resb SCAN_SECTORS * 512
crc_table:      resd 256
line:           resb 512
request:        resb REQUEST_SIZE
number:         resq 1
sectors:        resq 1
running:        resq 1
rtc:            resq 1
moment:         resq 2
chance:         resq 1
status:         resd 1
console:        resd 1
initctl:        resd 1
handle:         resd 1
run:            resd 1
boot:           resd 1
sum:            resd 1
tick:           resd 1
filled:         resd 1
kind:           resw 1
button:         resb 1
