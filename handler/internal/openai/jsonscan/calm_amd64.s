#include "textflag.h"

// func calmBlocks(p *byte, n int) (passed int, beyond uint64)
//
// The test of a byte x is that of special in text.go: x^0x02 <= 0x20 is a quote
// or a control character, x == 0x5c a backslash.
TEXT ·calmBlocks(SB), NOSPLIT, $0-32
	MOVQ p+0(FP), SI
	MOVQ n+8(FP), CX
	XORQ AX, AX
	MOVQ $0x02, DX
	VMOVQ DX, X1
	VPBROADCASTB X1, Y1
	MOVQ $0x20, DX
	VMOVQ DX, X2
	VPBROADCASTB X2, Y2
	MOVQ $0x5c, DX
	VMOVQ DX, X3
	VPBROADCASTB X3, Y3
	VPXOR Y0, Y0, Y0

block:
	LEAQ 64(AX), DX
	CMPQ DX, CX
	JGT  done
	VMOVDQU (SI)(AX*1), Y4
	VMOVDQU 32(SI)(AX*1), Y5
	VPXOR Y1, Y4, Y6
	VPXOR Y1, Y5, Y7
	VPMINUB Y2, Y6, Y8
	VPMINUB Y2, Y7, Y9
	VPCMPEQB Y6, Y8, Y6
	VPCMPEQB Y7, Y9, Y7
	VPCMPEQB Y3, Y4, Y8
	VPCMPEQB Y3, Y5, Y9
	VPOR Y6, Y8, Y6
	VPOR Y7, Y9, Y7
	VPOR Y6, Y7, Y6
	VPTEST Y6, Y6
	JNZ  done
	VPOR Y4, Y0, Y0
	VPOR Y5, Y0, Y0
	MOVQ DX, AX
	JMP  block

done:
	VPMOVMSKB Y0, DX
	VZEROUPPER
	MOVQ AX, passed+16(FP)
	MOVQ DX, beyond+24(FP)
	RET
