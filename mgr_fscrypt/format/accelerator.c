/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Many data units a call over OpenSSL's EVP: the key is scheduled once, only the IV changes from unit to unit.
 * accelerator.py compiles this file and checks the result against known answers before it uses it.
 *
 * The declarations below are part of libcrypto.so.3's stable interface; standing here, they spare the need
 * for OpenSSL's development package.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

typedef struct evp_cipher_st EVP_CIPHER;
typedef struct evp_cipher_ctx_st EVP_CIPHER_CTX;
typedef struct engine_st ENGINE;

EVP_CIPHER_CTX *EVP_CIPHER_CTX_new(void);
void EVP_CIPHER_CTX_free(EVP_CIPHER_CTX *context);
int EVP_CIPHER_CTX_set_padding(EVP_CIPHER_CTX *context, int padding);
int EVP_CipherInit_ex(EVP_CIPHER_CTX *context, const EVP_CIPHER *cipher, ENGINE *engine, const unsigned char *key,
                      const unsigned char *iv, int encrypt);
int EVP_CipherUpdate(EVP_CIPHER_CTX *context, unsigned char *out, int *out_size, const unsigned char *in, int in_size);
const EVP_CIPHER *EVP_aes_256_xts(void);
const EVP_CIPHER *EVP_aes_128_cbc(void);
const EVP_CIPHER *EVP_aes_256_ecb(void);

enum { IV_SIZE = 16, UNCHANGED = -1 };

struct fscrypt_units {
    EVP_CIPHER_CTX *direction[2]; /* decrypt, encrypt */
    EVP_CIPHER_CTX *essiv;        /* NULL for XTS */
    int unit_size;
};

static EVP_CIPHER_CTX *open_context(const EVP_CIPHER *cipher, const uint8_t *key, int encrypt)
{
    static const uint8_t zero_iv[IV_SIZE];
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();

    if (context && EVP_CipherInit_ex(context, cipher, NULL, key, zero_iv, encrypt)
        && EVP_CIPHER_CTX_set_padding(context, 0))
        return context;
    EVP_CIPHER_CTX_free(context);
    return NULL;
}

/* Freeing a context wipes its key schedule. */
void fscrypt_units_free(struct fscrypt_units *units)
{
    if (!units)
        return;
    EVP_CIPHER_CTX_free(units->direction[0]);
    EVP_CIPHER_CTX_free(units->direction[1]);
    EVP_CIPHER_CTX_free(units->essiv);
    free(units);
}

/* AES-256-XTS (essiv_key NULL, a key of 64 bytes) or AES-128-CBC-ESSIV (16 and 32 bytes); NULL if refused. */
struct fscrypt_units *fscrypt_units_new(const uint8_t *key, const uint8_t *essiv_key, int unit_size)
{
    const EVP_CIPHER *cipher = essiv_key ? EVP_aes_128_cbc() : EVP_aes_256_xts();
    struct fscrypt_units *units = calloc(1, sizeof(*units));
    int encrypt;

    if (!units)
        return NULL;
    units->unit_size = unit_size;
    for (encrypt = 0; encrypt < 2; encrypt++) {
        units->direction[encrypt] = open_context(cipher, key, encrypt);
        if (!units->direction[encrypt])
            goto refused;
    }
    if (essiv_key) {
        units->essiv = open_context(EVP_aes_256_ecb(), essiv_key, 1);
        if (!units->essiv)
            goto refused;
    }
    return units;
refused:
    fscrypt_units_free(units);
    return NULL;
}

/* Encipher count units; out is in, or does not overlap it. 1 on success, 0 if OpenSSL failed. */
int fscrypt_units_run(struct fscrypt_units *units, int encrypt, const uint8_t *in, uint8_t *out, uint64_t number,
                      size_t count)
{
    EVP_CIPHER_CTX *context = units->direction[encrypt ? 1 : 0];
    int size = units->unit_size, written;

    for (; count; count--, number++, in += size, out += size) {
        uint8_t iv[IV_SIZE] = {0};
        int byte;

        for (byte = 0; byte < 8; byte++)
            iv[byte] = (uint8_t)(number >> (8 * byte));
        if (units->essiv && !EVP_CipherUpdate(units->essiv, iv, &written, iv, IV_SIZE))
            return 0;
        if (!EVP_CipherInit_ex(context, NULL, NULL, NULL, iv, UNCHANGED)
            || !EVP_CipherUpdate(context, out, &written, in, size) || written != size)
            return 0;
    }
    return 1;
}
