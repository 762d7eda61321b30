/**
 * Noise's primitives by node:crypto. The primitives of @libp2p/noise unwrap the same key for every packet and copy packets that
 * arrive in pieces, which takes a sixth of the time of a large transfer.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createPrivateKey,
  createPublicKey,
  createSecretKey,
  diffieHellman,
  generateKeyPairSync,
  type KeyObject,
} from 'node:crypto'
import { type ICryptoInterface, type KeyPair, pureJsCrypto } from '@libp2p/noise'

/** Bytes in one piece, or a list of pieces: a class of libp2p that this package does not depend on. */
type Bytes = Parameters<ICryptoInterface['hashSHA256']>[0]

const CIPHER = 'chacha20-poly1305'
const TAG_BYTES = 16
const KEY_BYTES = 32
/** Largest packet of Noise, whose length field has two bytes. */
const PACKET_BYTES = 65_535

/** Bytes up to which a copy costs less than a system call for each piece. */
const SMALL_BYTES = 16 * 1024

/** A new key pair as DER, in which the last 32 bytes are the key itself. */
function newKeyPair(): KeyPair {
  const { publicKey, privateKey } = generateKeyPairSync('x25519')
  return {
    publicKey: publicKey.export({ type: 'spki', format: 'der' }),
    privateKey: privateKey.export({ type: 'pkcs8', format: 'der' }),
  }
}

/** Bytes before the key itself in DER. They are the same for all keys of a kind. */
const derPrefix = (({ publicKey, privateKey }) => ({
  publicKey: publicKey.subarray(0, -KEY_BYTES),
  privateKey: privateKey.subarray(0, -KEY_BYTES),
}))(newKeyPair())

/** Key objects by raw key. A session keeps its two keys, so each key is unwrapped once. */
const keyObjects = new WeakMap<Uint8Array, KeyObject>()

function keyObject(key: Uint8Array): KeyObject {
  const known = keyObjects.get(key)
  if (known !== undefined) return known
  const made = createSecretKey(key)
  keyObjects.set(key, made)
  return made
}

/** Scratch memory for one packet. Decryption copies a packet out of it before the next packet. */
const packet = new Uint8Array(PACKET_BYTES)

function inOnePiece(bytes: Bytes): Uint8Array {
  if (bytes instanceof Uint8Array) return bytes
  let length = 0
  for (const piece of bytes) {
    packet.set(piece, length)
    length += piece.length
  }
  return packet.subarray(0, length)
}

function privateKeyOf(raw: Uint8Array): KeyObject {
  const key = Buffer.concat([derPrefix.privateKey, raw])
  return createPrivateKey({ key, format: 'der', type: 'pkcs8' })
}

function publicKeyOf(raw: Uint8Array): KeyObject {
  const key = Buffer.concat([derPrefix.publicKey, raw])
  return createPublicKey({ key, format: 'der', type: 'spki' })
}

export const noiseCrypto: ICryptoInterface = {
  getHKDF: pureJsCrypto.getHKDF,

  hashSHA256(data) {
    const hash = createHash('sha256')
    for (const piece of data instanceof Uint8Array ? [data] : data) hash.update(piece)
    return hash.digest()
  },

  generateX25519KeyPair() {
    const { publicKey, privateKey } = newKeyPair()
    return {
      publicKey: publicKey.subarray(-KEY_BYTES),
      privateKey: privateKey.subarray(-KEY_BYTES),
    }
  },

  generateX25519KeyPairFromSeed(seed) {
    const publicKey = createPublicKey(privateKeyOf(seed)).export({ type: 'spki', format: 'der' })
    return { publicKey: publicKey.subarray(-KEY_BYTES), privateKey: seed }
  },

  generateX25519SharedKey(privateKey, publicKey) {
    return diffieHellman({
      privateKey: privateKeyOf(privateKey.subarray()),
      publicKey: publicKeyOf(publicKey.subarray()),
    })
  },

  chaCha20Poly1305Encrypt(plaintext, nonce, ad, key) {
    const cipher = createCipheriv(CIPHER, keyObject(key), nonce, { authTagLength: TAG_BYTES })
    if (ad.length > 0) cipher.setAAD(ad, { plaintextLength: plaintext.byteLength })
    if (plaintext instanceof Uint8Array || plaintext.byteLength <= SMALL_BYTES) {
      const encrypted = cipher.update(plaintext.subarray())
      return Buffer.concat([encrypted, cipher.final(), cipher.getAuthTag()])
    }
    // An empty list for the output. A stream cipher returns as many bytes as it gets, and none at the end.
    const output = plaintext.sublist(0, 0)
    for (const piece of plaintext) output.append(cipher.update(piece))
    cipher.final()
    output.append(cipher.getAuthTag())
    return output
  },

  /** @throws Error if the packet was changed on its way; no plaintext is returned then */
  chaCha20Poly1305Decrypt(ciphertext, nonce, ad, key) {
    const bytes = inOnePiece(ciphertext)
    const encrypted = bytes.subarray(0, -TAG_BYTES)
    const decipher = createDecipheriv(CIPHER, keyObject(key), nonce, { authTagLength: TAG_BYTES })
    if (ad.length > 0) decipher.setAAD(ad, { plaintextLength: encrypted.length })
    decipher.setAuthTag(bytes.subarray(-TAG_BYTES))
    const plaintext = decipher.update(encrypted)
    decipher.final()
    return plaintext
  },
}
