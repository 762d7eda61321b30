export function encodeParity(_: readonly Uint8Array[], __: number): Uint8Array[] {
  throw new Error('soon')
}
export function reconstruct(_: readonly (Uint8Array | null)[], __: number): Uint8Array[] {
  throw new Error('soon')
}
