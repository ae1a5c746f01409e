"""The product in five minutes, on real input; each part of the product adds its part here."""
