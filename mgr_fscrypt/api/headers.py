"""Headers of every reply of the module's own server: a browser is to trust nothing but what is meant."""

from collections.abc import Mapping

_ALWAYS: Mapping[str, str] = {
    "Strict-Transport-Security": "max-age=31536000",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}


def policy(nonce: str, ancestors: str = "'none'") -> str:
    """The Content-Security-Policy: nothing from elsewhere, no script and no style in a page but by its nonce."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'self' 'nonce-{nonce}'",
            f"style-src 'self' 'nonce-{nonce}'",
            "img-src 'self' data:",
            "font-src 'self'",
            "connect-src 'self'",
            "form-action 'self'",
            "base-uri 'none'",
            f"frame-ancestors {ancestors}",
        )
    )


def strict(nonce: str) -> dict[str, str]:
    """All of them; what a reply says itself goes before."""
    return {**_ALWAYS, "Content-Security-Policy": policy(nonce)}
